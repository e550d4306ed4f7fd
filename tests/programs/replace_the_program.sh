# Replaces selfdock after $KEEP, and uses the old program. dpkg replaces files so.
exec 9< $SD; cp -a $SD $SD.new; eval "$KEEP"
setpriv --reuid=$ME --regid=$MY_GROUP --clear-groups -- $SD run sleep 100 & pid=$!
until me $SD enter $pid true 2> out; do :; done
mv $SD.new $SD
for words in help doctor 'run true' '--unprivileged run true' "run $SD --version" '--explain run true' \
    "enter $pid true"
do
    me /proc/self/fd/9 $words > out 2>&1 || { echo "$words: $?"; cat out; }
done
kill $pid; wait; echo done
