# A file system that never answers in every directory, and a run of selfdock. After filesystems.sh; WHO runs selfdock
# with WORDS. support/host.rs says more.
filesystems /srv/x
for dir in / /*/ /usr/*/ /var/*/ /var/lib/*/; do
    case $dir in /proc/ | /sys/ | /dev/) continue ;; esac
    [ -L ${dir%/} ] || { mkdir ${dir}hung && mount --bind /srv/x/hung ${dir}hung; } || echo failed
done
eval "$WHO timeout $LONG $SD $WORDS echo ran"; echo $?
kill $servers 2>/dev/null; umount -l /srv/x/hung
