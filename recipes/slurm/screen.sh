#!/bin/sh
# A HealthCheckProgram of Slurm: drains the node if one of its cores gives other bits than the rest. In slurm.conf:
#
#   HealthCheckProgram=/usr/local/sbin/screen.sh
#   HealthCheckInterval=3600
#   HealthCheckNodeState=IDLE
#
# Slurm ends a health check after 60 s, audit screen ends by itself after 50. Every time it takes other inputs.
# AUDIT: the command, with a full path where Slurm's own does not lead there; AUDIT_OPTIONS: such as --python, the
# interpreter that jobs use.

PATH=${PATH:-/usr/local/bin:/usr/bin:/bin}
reason=$(${AUDIT:-audit} screen --format line --seed "$(date +%s)" ${AUDIT_OPTIONS} 2>/dev/null)
if [ $? -eq 1 ]; then
    exec scontrol update nodename="${SLURMD_NODENAME:-$(hostname -s)}" state=drain reason="$reason"
fi
