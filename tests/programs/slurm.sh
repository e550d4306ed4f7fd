# Slurm on this machine alone: a cluster of one node.
echo node > /proc/sys/kernel/hostname
# Slurm resolves no name where the loopback has only its own address.
ip address add 10.0.0.1 dev lo
echo 10.0.0.1 node > /etc/hosts
mkdir -p /run/munge /var/spool/slurmd /etc/slurm
chown munge:munge /run/munge
setpriv --reuid munge --regid munge --clear-groups munged
cat > /etc/slurm/slurm.conf << 'end'
ClusterName=one
SlurmctldHost=node
SlurmUser=root
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
NodeName=node
PartitionName=all Nodes=ALL Default=YES
end
slurmctld
slurmd
for try in $(seq 100); do
    if sinfo --noheader --format %T | grep -q idle; then break; fi
    sleep 0.1
done
