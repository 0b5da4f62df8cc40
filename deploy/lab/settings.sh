# shellcheck shell=bash disable=SC2034
# Settings of the lab; sourced. All files live in $PORTCULLIS_LAB, all listeners on $LAB_NET.x.y (loopback).
PORTCULLIS_LAB=${PORTCULLIS_LAB:-/var/tmp/portcullis-lab}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
LAB=$PORTCULLIS_LAB

# A lab that is up knows its own addresses: they win over the caller's environment.
if [ -s "$LAB/net" ] && [ "${LAB_FRESH:-}" != yes ]; then LAB_NET=$(< "$LAB/net"); fi
LAB_NET=${LAB_NET:-127.0}

# A pass has half of it; one over 1,800 people takes 1 to 6 seconds on two busy cores.
LAB_ASSESS_SECONDS=${LAB_ASSESS_SECONDS:-24}

MEMBERS="rxa rxb rxc"
NATIONAL_IP=$LAB_NET.30.1
GATEWAY_IP=$LAB_NET.50.1
LISTS_IP=$LAB_NET.60.1
LISTS_PORT=8880
NATIONAL_SUFFIX=dc=national,dc=test
PKI=$LAB/pki

# Not secrets: each guards a throw-away directory on loopback.
ADMIN_PW='Lab-Passw0rd-2026!'          # Administrator of the weak members
SERVICE_PW='Gateway-Svc-Acc0unt-2026!' # svc-portcullis and svc-rota
USER_PW='Ordinary-Us3r-2026!'          # the accounts that may log on by password
NATIONAL_PW=national-lab
PIN=123456
SO_PIN=12345678
P11_MODULE=/usr/lib/softhsm/libsofthsm2.so
# python3-samba and python3-ldap are the distribution's: another interpreter first on PATH does not see them
PYTHON=/usr/bin/python3
export PATH=$PATH:/usr/sbin:/sbin

# member_settings NAME: sets REALM DNS NETBIOS IP BASE PROFILE D (its folder)
member_settings() {
  case $1 in
    rxa) IP=$LAB_NET.10.1 PROFILE=hardened ;;
    rxb) IP=$LAB_NET.20.1 PROFILE=weak ;;
    rxc) IP=$LAB_NET.40.1 PROFILE=hardened ;;
    *) echo "lab: no member $1 (there are: $MEMBERS)" >&2; return 2 ;;
  esac
  NETBIOS=${1^^} REALM=${1^^}.TRUST.TEST DNS=$1.trust.test BASE=DC=$1,DC=trust,DC=test D=$LAB/member/$1
}

# The start time of a process, in ticks since boot: with it a recorded pid cannot be mistaken for a later process.
# Nothing for one that has ended and was not yet reaped.
started_at() { sed 's/.*) //' "/proc/$1/stat" 2> /dev/null | awk '$1 != "Z" { print $20 }'; }

# record FILE PID: remember a process that was started with setsid, so that its process group is its own pid
record() { echo "$2 $(started_at "$2")" > "$1"; }

# recorded FILE: sets PID if the process is still the one that was recorded
recorded() {
  local at
  [ -s "$1" ] && read -r PID at < "$1" && [ -n "$at" ] && [ "$(started_at "$PID")" = "$at" ]
}

stop_recorded() { # stop_recorded FILE
  if recorded "$1"; then
    kill -CONT -- "-$PID" 2> /dev/null || true
    kill "$PID" 2> /dev/null || true
    for _ in $(seq 1 100); do recorded "$1" || break; sleep 0.05; done
    kill -KILL -- "-$PID" 2> /dev/null || true
  fi
  rm -f "$1"
}

answers() { timeout 5 ldapsearch -x -LLL -o nettimeout=3 -H "ldap://$1" -s base -b '' "$2" > /dev/null 2>&1; }
