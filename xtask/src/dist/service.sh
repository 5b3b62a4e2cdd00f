#!/bin/sh
# Runs in a machine whose first process is systemd, with the package installed: what the service
# manager makes of the unit, a line for each test.
exec >/dev/ttyS1 2>&1 </dev/null
stty -F /dev/ttyS1 raw -echo
echo "kernel $(uname -r)"
echo "run service"

show() {
    systemctl show --value --property "$1" traffic.service
}

is() {
    [ "$(show "$1")" = "$2" ]
}

# Asks until it holds: within SECONDS COMMAND ARGUMENT…
within() {
    end=$(($(date +%s) + $1))
    shift
    until "$@"; do
        [ "$(date +%s)" -lt "$end" ] || return 1
        sleep 0.2
    done
}

# check NAME COMMAND
check() {
    printf 'test %s ... ' "$1"
    if "$2"; then
        echo ok
    else
        echo FAILED
        systemctl status --no-pager --full --lines=20 traffic.service
    fi
}

# `systemctl start` of a unit of type `notify` comes back when it hears that the capture listens.
is_ready() {
    is Type notify && systemctl start traffic.service && is ActiveState active
}

# Neither root nor with any capability, and no system call but some.
is_confined() {
    status=$(cat "/proc/$(show MainPID)/status")
    for line in 'CapEff:	0000000000000000' 'NoNewPrivs:	1' 'Seccomp:	2'; do
        echo "$status" | grep -q "^$line" || return 1
    done
    ! echo "$status" | grep -q '^Uid:	0	'
}

was_heard_since() {
    [ "$(show WatchdogTimestampMonotonic)" -gt "$heard" ]
}

pings_the_watchdog() {
    heard=$(show WatchdogTimestampMonotonic)
    ping -q -c 3 -i 0.1 127.0.0.1 >/dev/null
    within 30 was_heard_since || return 1
    show StatusText | grep -q '^[1-9][0-9]* packets captured'
}

rotates() {
    systemctl reload traffic.service && within 20 test -s /var/lib/private/traffic/traffic.pcapng1
}

has_restarted() {
    is NRestarts "$restarts" && is ActiveState active && is SubState running
}

is_restarted_when_killed() {
    restarts=1
    kill -KILL "$(show MainPID)"
    within 60 has_restarted
}

is_restarted_when_it_hangs() {
    restarts=2
    kill -STOP "$(show MainPID)"
    within 120 has_restarted
}

ends_with_a_report() {
    systemctl stop traffic.service && is Result success || return 1
    grep -q '"balanced": *true' /var/lib/private/traffic/report.json
}

goes_with_the_package() {
    systemctl start traffic.service || return 1
    cp /usr/bin/traffic /usr/local/bin/traffic
    dpkg --purge traffic >/dev/null && ! is ActiveState active && is LoadState not-found
}

is_installed_by_the_program() {
    traffic service install >/dev/null || return 1
    sed -i 's/^#interface.*/interface = ["lo"]/' /etc/traffic/traffic.toml
    systemctl enable --now traffic.service && is ActiveState active
}

is_removed_by_the_program() {
    traffic service remove >/dev/null && ! is ActiveState active && is LoadState not-found
}

sed -i 's/^#interface.*/interface = ["lo"]/' /etc/traffic/traffic.toml
mkdir -p /etc/systemd/system/traffic.service.d
printf '[Service]\nWatchdogSec=10\n' >/etc/systemd/system/traffic.service.d/short.conf
systemctl daemon-reload

check the_service_is_ready_when_it_listens is_ready
check the_service_is_confined is_confined
check the_service_pings_the_watchdog pings_the_watchdog
check the_service_rotates_when_it_is_reloaded rotates
check the_service_is_restarted_when_it_is_killed is_restarted_when_killed
check the_service_is_restarted_when_it_hangs is_restarted_when_it_hangs
check the_service_ends_with_a_report ends_with_a_report
check the_service_goes_with_the_package goes_with_the_package
rm -r /etc/systemd/system/traffic.service.d
check the_service_is_installed_by_the_program is_installed_by_the_program
check the_service_is_removed_by_the_program is_removed_by_the_program
echo "exit 0"
echo done
systemctl poweroff --force --force
