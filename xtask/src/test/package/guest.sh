#!/bin/bash
# In a Debian guest with systemd: installs the package, tries what it installed, upgrades, removes and purges it.
# Each check is a line "ok ..." or "FAILED ..."; the last line counts.
set -u
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive SYSTEMD_PAGER= SYSTEMD_COLORS=0

passed=0 failed=0
check() { # NAME COMMAND...: it must succeed
    local name=$1 said
    shift
    if said=$("$@" 2>&1); then
        passed=$((passed + 1)) && echo "ok      $name"
    else
        failed=$((failed + 1)) && echo "FAILED  $name"
        tail -n 15 <<<"$said" | sed 's/^/        /'
    fi
}
within() { # SECONDS COMMAND...: until it succeeds
    local end=$((SECONDS + $1))
    shift
    until "$@"; do [ $SECONDS -lt $end ] || return 1; sleep 0.2; done
}
property() { systemctl show --value --property="$2" "$1"; }
is() { # WANTED COMMAND...: what it says
    local wanted=$1 said
    shift
    said=$("$@") && [ "$said" = "$wanted" ] || { echo "said: $said"; echo "not:  $wanted"; return 1; }
}
get() { # PATH: the body of netqueue's answer
    exec 3<>/dev/tcp/127.0.0.1/10124 || return 1
    printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$1" >&3
    sed '1,/^\r$/d' <&3
    exec 3>&-
}
field() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$(property "$1" MainPID)/status"; }
files() { find /etc /usr /var /opt -xdev -not -path '/var/lib/dpkg/*' -not -path '/var/log/*' -not -path '/var/cache/*' | sort; }
capabilities() { # NUMBER...: as /proc shows the set
    local set=0 number
    for number in "$@"; do set=$((set | 1 << number)); done
    printf '%016x' $set
}
every_probe_is_attached() { get /metrics | grep '^netqueue_probe_attached' >/tmp/probes && ! grep -v ' 1$' /tmp/probes; }
nothing_unattributed() { get /metrics | grep '^netqueue_residual' >/tmp/residual && ! grep -v ' 0$' /tmp/residual; }
a_user_without_a_name_in_passwd() { local user; user=$(field "$1" Uid | cut -f1); [ "$user" -ge 61184 ] && ! grep -q ":$user:" /etc/passwd; }
journal_is_plain() { journalctl --unit "$1" --output cat | grep -q 'serving' && ! journalctl --unit "$1" --output cat | grep -q $'\e'; }

drops_are_charged() { # also where nobody may enter the lab's namespace to compare it
    netqueue lab run accept-queue-full >/tmp/lab
    local kernel ours
    read -r _ kernel ours < <(grep ListenDrops /tmp/lab)
    [ "$kernel" -gt 0 ] && [ "$kernel" = "$ours" ]
}

mkdir -p /var/lib/dpkg/updates /var/lib/dpkg/triggers /var/lib/systemd
# The guest's own, for other tests.
rm /usr/bin/netqueue
files >/tmp/before

echo "Debian $(cat /etc/debian_version), $(systemctl --version | head -1), Linux $(uname -r)"
check 'the package installs' dpkg --install /packages-1.deb
check 'its files are as packed' dpkg --verify netqueue
for unit in netqueue:25 netqueue-counts:16; do
    file=/usr/lib/systemd/system/${unit%:*}.service
    check "systemd finds nothing wrong with ${unit%:*}.service" is '' systemd-analyze verify --man=no "$file"
    check "exposure of ${unit%:*}.service is ${unit#*:} tenths or less" \
        systemd-analyze security --no-pager --offline=true --threshold="${unit#*:}" "$file"
    systemd-analyze security --no-pager --offline=true "$file" | tail -1
done

check 'the unit is active, and enabled' is $'active\nenabled' sh -c 'systemctl is-active netqueue; systemctl is-enabled netqueue'
check 'the counts-only unit is not' is $'inactive\ndisabled' sh -c 'systemctl is-active netqueue-counts; systemctl is-enabled netqueue-counts; true'
check 'metrics are up' within 20 every_probe_is_attached
check 'it runs as a user of its own' a_user_without_a_name_in_passwd netqueue
check 'what attaching needed is given up: DAC_READ_SEARCH, SYS_PTRACE, SYS_ADMIN, BPF are left' \
    is "$(capabilities 2 19 21 39)" field netqueue CapEff
check 'and cannot be had again' is "$(capabilities 2 19 21 39)" field netqueue CapPrm
check 'no program it starts could have more' is "1" field netqueue NoNewPrivs
check 'drops are charged, and whose listener it is is known' netqueue lab run accept-queue-full owners
check 'sums equal the kernel counters' nothing_unattributed
check 'its log is plain text' journal_is_plain netqueue
check 'it reloads' systemctl reload netqueue
check 'and says so' within 5 sh -c 'journalctl --unit netqueue --output cat | grep -q "configuration was read again"'

mkdir -p /etc/systemd/system/netqueue.service.d
printf '[Service]\nWatchdogSec=6\n' >/etc/systemd/system/netqueue.service.d/watchdog.conf
systemctl daemon-reload && systemctl restart netqueue
sleep 9
check 'the watchdog is fed' is '0' property netqueue NRestarts
hanging=$(property netqueue MainPID)
# 0 would be this script and all that belongs to it.
[ "$hanging" = 0 ] || kill -STOP "$hanging"
check 'one that hangs is started again' within 30 is '1' property netqueue NRestarts
check 'and then answers' within 20 every_probe_is_attached
rm -r /etc/systemd/system/netqueue.service.d && systemctl daemon-reload

sed -i 's/^event-memory = .*/event-memory = "17MiB"/' /etc/netqueue/netqueue.toml
before=$(property netqueue MainPID)
check 'a newer package installs' dpkg --install /packages-2.deb
check 'it is the newer one' sh -c 'dpkg-query --show netqueue | grep -q -- -2$'
check 'settings are kept' grep -q '^event-memory = "17MiB"$' /etc/netqueue/netqueue.toml
check 'the unit is active again' is active systemctl is-active netqueue
check 'by a new process' test "$(property netqueue MainPID)" != "$before"
check 'that answers' within 20 every_probe_is_attached

# Debian's kernels ask for CAP_SYS_ADMIN otherwise.
echo 2 >/proc/sys/kernel/perf_event_paranoid
check 'the counts-only unit takes its place' systemctl start netqueue-counts
check 'the other has stopped' is inactive sh -c 'systemctl is-active netqueue; true'
check 'metrics are up' within 20 every_probe_is_attached
check 'it runs as a user of its own' a_user_without_a_name_in_passwd netqueue-counts
check 'only BPF is left' is "$(capabilities 39)" field netqueue-counts CapEff
check 'drops are charged' drops_are_charged
check 'sums equal the kernel counters' nothing_unattributed

check 'the package is removed' dpkg --remove netqueue
check 'nothing of it runs' is '' sh -c 'pgrep netqueue || true'
check 'settings are still there' test -f /etc/netqueue/netqueue.toml
check 'the package is purged' dpkg --purge netqueue
files >/tmp/after
check 'purging leaves nothing' diff /tmp/before /tmp/after

[ $failed = 0 ] || journalctl --no-pager --output short-monotonic --lines 60
echo "$passed passed, $failed failed"
