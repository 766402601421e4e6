#!/bin/sh
# Init of the User-Mode Linux guest. Its root is the host's file tree, read-only; its only disk is /dev/ubdb.
# H (the driver folder) comes on the kernel command line; guest.env in it names the interpreter, the script and the job.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
. "$H/guest.env"
# Nothing reaches the disk unless somebody asks for it: no periodic write-back, no journal commit by age. Without this a
# store that never syncs would sometimes be saved by the guest's kernel, and the negative control would prove nothing.
echo 0 >/proc/sys/vm/dirty_writeback_centisecs
echo 360000 >/proc/sys/vm/dirty_expire_centisecs
echo 90 >/proc/sys/vm/dirty_ratio
echo 80 >/proc/sys/vm/dirty_background_ratio
mount -t ext4 -o commit=300 /dev/ubdb "$H/mnt" || echo "ERR the disk cannot be mounted"
"$PYTHON" -u "$SCRIPT" "$JOB" "$H/mnt/store" "$FSYNC"
cd /
umount "$H/mnt"
echo END
echo o >/proc/sysrq-trigger
sleep 5
