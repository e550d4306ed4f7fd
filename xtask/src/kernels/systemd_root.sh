cd "$ROOT"
echo guest >etc/hostname
echo 0123456789abcdef0123456789abcdef >etc/machine-id
echo user:x:1000:1000::/home/user:/bin/sh >>etc/passwd
echo user:x:1000: >>etc/group
echo 'user:*:19000::::::' >>etc/shadow
mkdir -p home/user var/lib/systemd/linger etc/systemd/system.conf.d
chown 1000:1000 home/user
touch var/lib/systemd/linger/user
cat >etc/systemd/system.conf.d/guest.conf <<end
[Manager]
ShowStatus=yes
LogTarget=console
end
cat >etc/systemd/system/checks.target <<end
[Unit]
Requires=basic.target dbus.service systemd-logind.service checks.service
After=basic.target
end
cat >etc/systemd/system/checks.service <<end
[Unit]
After=basic.target dbus.service systemd-logind.service
[Service]
Type=oneshot
TimeoutStartSec=infinity
StandardOutput=file:/dev/console
StandardError=file:/dev/console
ExecStart=/bin/sh /opt/checks/all
end
ln -s checks.target etc/systemd/system/default.target
