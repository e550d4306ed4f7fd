# Enters an instance from another control group. Before, $CHANGE runs in the group above both.
cd /sys/fs/cgroup; name=selfdock-test.$$; mkdir $name; cd $name; mkdir own own/here own/there
chown -R $ME own
user() {
    echo 0 > own/$1/cgroup.procs; shift
    exec setpriv --reuid=$ME --regid=$MY_GROUP --clear-groups "$@"
}
user there $SD run sleep 9 & target=$!; sleep 0.2
eval "$CHANGE"
(user here $SD enter $OPTION $target grep ^0: /proc/self/cgroup)
kill $target; wait; cd ..; rmdir $name/own/here $name/own/there $name/own $name
