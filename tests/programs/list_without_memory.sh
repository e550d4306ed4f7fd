# Lists what an instance shows, while one call after another fails for want of memory. MODE is an option of selfdock.
# support/host.rs says more.
list='ls -d /* /var/* /var/*/* /run/* /sys/*/*'
$SD $MODE run sh -c "$list" >/tmp/whole 2>/dev/null; refused=0
for n in $(seq 1 3 60); do
    strace -f -o /dev/null -e trace=readlinkat -e inject=readlinkat:error=ENOMEM:when=$n \
        $SD $MODE run sh -c "$list" >/tmp/part 2>/tmp/said
    case $? in 125) refused=$((refused + 1)) ;; *) cmp /tmp/part /tmp/whole ;; esac
done
[ $refused -ge 10 ] && echo refused
