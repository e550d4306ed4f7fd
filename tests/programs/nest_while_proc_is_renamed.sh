# Nested instances in an image whose owner renames its /proc meanwhile. support/host.rs says more.
mkdir -p /srv/own/img/img $PREFIX; chown -R $ME /srv/own; cd /srv/own
setpriv --reuid=$ME --regid=$MY_GROUP --clear-groups python3 -c "$RENAME" 2>/dev/null &
me $SD run --root img -m /usr /usr -m $PREFIX $PREFIX -m /srv/own/inner /img -v /srv/own /tmp sh -c '
    touch /tmp/go
    for i in $(seq 60); do
        $SELFDOCK run --root /img -m /usr /usr -m $PREFIX $PREFIX sh -c "cat /proc/version /proc/keys; echo ran"
    done 2>/dev/null'
kill $!
