# Prints what zsh offers for each LINE: offers.zsh DIRECTORY LINE..., and '==' behind each. The completions lie in
# DIRECTORY. zsh completes only in a terminal, so another zsh has one. It runs no command.
zmodload zsh/zpty || exit 1
dir=$1; shift
# What the other zsh does first: it prints the words that would be added to the list, and ends.
start=$(mktemp)
cat > $start <<EOF
PROMPT=
fpath=($dir \$fpath)
autoload -Uz compinit && compinit -u -D
bindkey '^M' undefined; bindkey '^J' undefined; bindkey '^I' complete-word
mark() { print -r -- mark }
compprefuncs=(mark)
comppostfuncs=(mark exit)
zstyle ':completion:*' insert-tab false
compadd() {
    # Calls with one of these options fill arrays and add nothing.
    if [[ \${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "\$@"; return; fi
    local -a hits
    builtin compadd -A hits "\$@"
    print -rl -- \$hits
}
print ready
EOF
for line; do
    zpty other zsh -f -i
    zpty -w other "source $start"
    # It reads keys when it has printed its prompt.
    zpty -r other text '*ready*' && zpty -r other text '*'$'\e''\[\?2004h*'
    zpty -w -n other "$line"$'\t'
    marks=0
    while zpty -r other text; do
        text=${text%$'\r\n'}
        if [[ $text == *mark ]]; then
            ((++marks == 2)) && break
        elif ((marks)); then
            print -r -- $text
        fi
    done
    zpty -d other
    print -r -- '=='
done
rm $start
