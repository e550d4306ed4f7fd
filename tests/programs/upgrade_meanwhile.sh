# Replaces the files of the installation for ever, and starts selfdock meanwhile.
cd $PREFIX
while :; do
    for file in lib/selfdock/selfdock-about bin/selfdock lib/selfdock/root.list; do
        cp -a $file $file.new; mv $file.new $file
    done
done & upgrades=$!
begin=$(date +%s) n=0
while test $n -lt ${SELFDOCK_RACE_SECONDS:+99999999}${SELFDOCK_RACE_SECONDS:-100}; do
    test -n "$SELFDOCK_RACE_SECONDS" && test $(($(date +%s) - begin)) -ge $SELFDOCK_RACE_SECONDS && break
    n=$((n + 1))
    me $SD run $SD --version > /dev/null || echo "run $?"
    me $SD help > /dev/null || echo "help $?"
    me $SD run $SD run true || echo "nested $?"
done
kill $upgrades; wait; echo done
