#!/bin/sh
sh /opt/checks/all
echo '@@ end'
poweroff -f
