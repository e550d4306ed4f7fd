# Homes in a directory that is shown: the one of the caller by VARIABLE or by the user's entry, and another one.
# support/host.rs says more.
mkdir -p opt/homes/me/work opt/homes/other; echo "$CANARY" | tee opt/homes/me/f opt/homes/me/work/f >/dev/null
chown -R $ME opt/homes/me; touch opt/homes/other/f; ln -s me opt/homes/link
# For newuidmap.
echo tester:x:$ME:$MY_GROUP::/:/bin/sh >> etc/passwd
echo tester:700000:65536 | tee -a etc/subuid >> etc/subgid
case $VARIABLE in
    HOME=/) set -- "$ME" /opt/homes/me ;;
    HOME=/link/me) set -- @/link /opt/homes ;;
esac
printf '~%s\0%s\0' "${1:-1}" "${2:-/opt/x}" >> .$PREFIX/lib/selfdock/root.list
