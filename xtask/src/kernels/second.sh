#!/bin/sh
sh /opt/checks/all
poweroff -f
