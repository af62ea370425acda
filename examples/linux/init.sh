#!/bin/busybox sh
# The interactive init: a shell on the serial console, power-off when it ends.
/bin/busybox --install -s /bin
export PATH=/bin HOME=/root TERM=vt102 PS1='kvmbox# '
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
hostname kvmbox
tty=$(cat /sys/class/tty/console/active)
cat <<END

Linux $(uname -r) in a kvmbox. modprobe kvmbox_accel loads the driver of the accelerator, accel_test tests it;
lspci -vv, dmesg, cat /proc/interrupts show what the box is. exit powers off.

END
cd /root
setsid cttyhack sh </dev/"${tty##* }" >/dev/"${tty##* }" 2>&1
poweroff -f
