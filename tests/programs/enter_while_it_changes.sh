# Enters an instance whose command makes namespaces at the same time. DELAY is the call that strace delays, which runs
# as root, so that the set-uid bit counts. support/host.rs says more.
user="setpriv --reuid=$ME --regid=$MY_GROUP --clear-groups"
$user $SD run -v /srv/own /mnt python3 -c "$GO" & target=$!; sleep 0.3
spaces='readlink /proc/self/ns/mnt /proc/self/ns/user'
was=$($user $SD enter $target $spaces)
(sleep 1; echo > /srv/own/go) &
is=$(strace -qq -o /dev/null -f -e trace=prlimit64,setns -e inject=$DELAY $user $SD enter $target $spaces)
test "$was" = "$is" && echo same; kill $target; wait
