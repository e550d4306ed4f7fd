# Prints what bash offers for each LINE: offers.bash DIRECTORY LINE..., and '==' behind each. The completions lie in
# DIRECTORY.
source "$1/selfdock"
shift
compopt() { :; }
for COMP_LINE; do
    read -ra COMP_WORDS <<< "${COMP_LINE//=/ = }"
    [[ $COMP_LINE == *' ' ]] && COMP_WORDS+=('')
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _selfdock selfdock "${COMP_WORDS[COMP_CWORD]}"
    printf '%s\n' "${COMPREPLY[@]}" ==
done
