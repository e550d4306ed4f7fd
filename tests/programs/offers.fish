# Prints what fish offers for each LINE: offers.fish DIRECTORY LINE..., and '==' behind each. The completions lie in
# DIRECTORY.
source $argv[1]/selfdock.fish
for line in $argv[2..]
    complete -C $line | string replace -r '\t.*' ''
    echo ==
end
