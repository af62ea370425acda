# The output of a boot with kvmbox.test=clock and the jobs of the accelerator: do the guest's clocks go as SystemC's time does? A line
# per promise, "ok NAME FIGURES" or "bad NAME WHY". See examples/linux/clock_test.c for the lines it reads.
#
# A job starts between two readings of a guest's clock. With S its time in SystemC, a clock that goes as SystemC does has an offset o
# such that first < S + o < second for all samples: the greatest first - S is below the least second - S.
function bound(clock, first, second) {
	if (!(clock in low) || first > low[clock])
		low[clock] = first
	if (!(clock in high) || second < high[clock])
		high[clock] = second
}
function result(good, name, text) {
	print (good ? "ok " : "bad ") name " " text
	bad = bad || !good
}
function follows(clock) {
	result(clock in low && low[clock] < high[clock], clock, sprintf("offset to SystemC between %.0f and %.0f ns", low[clock], high[clock]))
}

$1 == "clock" && NF == 10 {
	n = $3
	phase[n] = $2; mono0[n] = $4; real0[n] = $5; mono1[n] = $6; real1[n] = $7; coarse[n] = $8; up0[n] = $9 * 1e7; up1[n] = $10 * 1e7
	samples++
}
$1 == "ticks" { ticks[++reports] = $2; at[reports] = $3 }
$1 == "job" && $2 >= 30000 { start[$2 - 30000] = $3 / 1000 }
/delay\.loops/ { loops++ }
/\] delay [a-z]+ [0-9]+ [0-9]+$/ {
	delays++
	if ($NF < $(NF - 1))
		short = short " " $(NF - 2) " " $(NF - 1)
}

END {
	for (n = 0; n < samples; n++) {
		if (!(n in mono0) || !(n in start)) {
			result(0, "samples", "number " n " or its job is missing")
			continue
		}
		bound("monotonic", mono0[n] - start[n], mono1[n] - start[n])
		bound("realtime", real0[n] - start[n], real1[n] - start[n])
		# hundredths of a second, rounded down
		bound("uptime", up0[n] - start[n], up1[n] + 1e7 - start[n])
		uptime_off += up0[n] > mono0[n] || up1[n] + 1e7 < mono1[n]
		if (mono0[n] - coarse[n] > lag)
			lag = mono0[n] - coarse[n]
		back += n > 0 && (mono0[n] < mono1[n - 1] || mono1[n] < mono0[n])
	}
	last = samples - 1
	result(samples == 17, "samples", samples + 0)
	result(start[last] - start[0] >= 10e9, "length", sprintf("%.3f s of SystemC's time", (start[last] - start[0]) / 1e9))
	follows("monotonic")
	follows("realtime")
	follows("uptime")
	result(!uptime_off, "uptime.monotonic", uptime_off + 0 " samples differ by more than their resolution")
	result(!back, "order", back + 0 " steps back")
	# 2 s of sleep four times, with the samples' own time in between
	for (n = 1; n < samples; n++)
		if (phase[n] == "sleep" && phase[n - 1] == "sleep") {
			slept = start[n] - start[n - 1]
			sleeps += slept >= 2e9 && slept < 2.5e9
		}
	result(sleeps == 4, "sleep", sleeps + 0 " of 4 sleeps took their 2 s, and less than 2.5")
	result(lag <= 5e7, "tick", sprintf("at most %.1f ms old", lag / 1e6))
	want = (at[2] - at[1]) / 1e7
	result(reports == 2 && want >= 100 && ticks[2] - ticks[1] >= want * 0.99 - 1 && ticks[2] - ticks[1] <= want * 1.01 + 1, "ticks",
		sprintf("%d interrupts while computing, HZ is worth %.1f", ticks[2] - ticks[1], want))
	result(loops == 1 && delays == 5 && short == "", "delays", short == "" ? delays + 0 " delays, none too short" : "too short:" short)
	exit bad
}
