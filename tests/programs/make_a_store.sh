# A store of programs, as Nix and Guix have one: STORE, with the link SYSTEM to those of the system, in a directory that
# lies in ABOVE. There PROFILE leads to the programs. support/host.rs says more.
mkdir -p $STORE/1-box/bin $STORE/2-profile $STORE/3-system $ABOVE run
cp "$BOX/bin/busybox" $STORE/1-box/bin/busybox-told
ln -s /$STORE/1-box/bin $STORE/2-profile/bin
ln -s /$STORE/2-profile $STORE/3-system/$PROFILE
ln -s /$STORE/3-system .$SYSTEM
[ -L run/current-system ] || ln -s $SYSTEM run/current-system
rm -f .$PREFIX/lib/selfdock/root.list
