# shellcheck shell=bash disable=SC2154
# One member's domain controller (Samba AD DC). Sourced after settings.sh and member_settings.
#
# Only ldap, cldap and kdc run: no SMB, RPC, DNS, so no SYSVOL and no group policy.
# The database is LMDB: with the default (TDB) a sweep over all users blocks every write, and a refused logon is a write.
# The interface needs a mask wider than its address; with /32 Samba finds "no network interfaces".

member_worse() { [ -s "$D/worse" ] && grep -qx -- "$1" "$D/worse"; }

member_configure() {
  local name=${NETBIOS,,} certificate=$PKI/good/dc-${NETBIOS,,} strong=yes etypes='aes128-cts-hmac-sha1-96 aes256-cts-hmac-sha1-96'
  local priority='SECURE256:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA' ntlm=disabled kdc='enable-pkinit = yes'
  if [ "$PROFILE" = weak ]; then
    priority='NORMAL:+VERS-TLS1.0:+VERS-TLS1.1' strong=no ntlm=yes etypes='' certificate+=-stale-list
    # together with the flag on krbtgt this lets a DONT_REQ_PREAUTH account really be roasted; others are unaffected
    kdc=$'enable-pkinit = no\n  require-preauth = no'
  else
    kdc+=$'\n'"  pkinit_identity = FILE:$certificate.crt,$certificate.key"
    kdc+=$'\n'"  pkinit_anchors = FILE:$PKI/good/ca.crt"
    kdc+=$'\n'"  pkinit_revoke = FILE:$PKI/good/ca.crl"
  fi
  if member_worse tls1.0; then priority='NORMAL:+VERS-TLS1.0:+VERS-TLS1.1'; fi
  if member_worse cleartext-bind; then strong=no; fi
  if member_worse rc4; then etypes=; fi
  local kind
  for kind in expired revoked; do if member_worse "$kind-certificate"; then certificate=$PKI/good/dc-$name-$kind; fi; done
  for kind in stale-list false-list missing-list no-list; do
    if member_worse "$kind"; then certificate=$PKI/good/dc-$name-$kind; fi
  done
  mkdir -p "$D"/{etc,run,cache,ncalrpc,log}
  cat > "$D/etc/smb.conf" <<CONF
[global]
  workgroup = $NETBIOS
  realm = $REALM
  netbios name = DC1
  server role = active directory domain controller
  interfaces = $IP/8
  bind interfaces only = yes
  server services = ldap cldap kdc
  disable netbios = yes
  private dir = $D/private
  state directory = $D/state
  cache directory = $D/cache
  lock directory = $D
  pid directory = $D/run
  ncalrpc dir = $D/ncalrpc
  binddns dir = $D/bind-dns
  winbindd socket directory = $D/run/winbindd
  ntp signd socket directory = $D/run/ntp_signd
  logging = file
  log file = $D/log/samba.log
  log level = 1 kerberos:3 auth_json_audit:3
  load printers = no
  printcap name = /dev/null
  # a lab may lose its last second in a power cut
  ldb:nosync = true
  tls enabled = yes
  tls cafile = $PKI/good/ca.crt
  tls certfile = $certificate.crt
  tls keyfile = $certificate.key
  tls priority = $priority
  ldap server require strong auth = $strong
  ntlm auth = $ntlm
  ${etypes:+kdc supported enctypes = $etypes}
CONF
  cat > "$D/etc/krb5.conf" <<CONF
[libdefaults]
  default_realm = $REALM
  dns_lookup_realm = false
  dns_lookup_kdc = false
[kdc]
  $kdc
CONF
}

member_python() { KRB5_CONFIG=$D/etc/krb5.conf "$PYTHON" "$here/domain.py" "$D/etc/smb.conf" "$@"; }

member_provision() {
  rm -rf "$D"
  mkdir -p "$D/log"
  samba-tool domain provision --targetdir="$D" --realm="$REALM" --domain="$NETBIOS" --server-role=dc \
    --host-name=dc1 --host-ip="$IP" --dns-backend=NONE --backend-store=mdb --function-level=2008_R2 --adminpass="$ADMIN_PW" \
    --option="interfaces=$IP/8" --option="bind interfaces only=yes" --option="ldb:nosync=true" \
    > "$D/log/provision" 2>&1 || { tail -5 "$D/log/provision" >&2; return 1; }
}

member_fill() {
  member_configure
  member_python fill "$PROFILE" --people "$1" --ip "$IP" --service-password "$SERVICE_PW" --user-password "$USER_PW" \
    --pki "$PKI/good" > "$D/log/fill" 2>&1 || { tail -5 "$D/log/fill" >&2; return 1; }
}

member_start() {
  # "standard" forks per connection, so that a slow search cannot stall the others
  setsid samba -i -M standard --no-process-group -s "$D/etc/smb.conf" > "$D/log/stdout" 2>&1 < /dev/null &
  record "$D/run/lab.pid" $!
  for _ in $(seq 1 300); do
    recorded "$D/run/lab.pid" || { echo "lab: $NETBIOS ended at once:" >&2; tail -5 "$D/log/stdout" >&2; return 1; }
    if answers "$IP" defaultNamingContext; then return 0; fi
    sleep 0.05
  done
  echo "lab: $NETBIOS does not answer on $IP" >&2
  return 1
}

member_stop() { stop_recorded "$D/run/lab.pid"; }

# What a member can be made worse by. "server": needs new settings and a restart (about a second); "directory": a live change.
worsenings() {
  cat <<'LIST'
tls1.0                       server     TLS 1.0 and 1.1 are accepted on ldaps
cleartext-bind               server     a simple bind without TLS is accepted
rc4                          server     the KDC issues RC4 tickets
expired-certificate          server     the controller's certificate has run out
revoked-certificate          server     the controller's certificate has been revoked
stale-list                   server     the revocation list of the controller's certificate has run out
false-list                   server     the revocation list of the controller's certificate is signed with another key
missing-list                 server     the revocation list of the controller's certificate is not there
no-list                      server     the controller's certificate names no revocation list
privileged-without-smartcard directory  one domain administrator may log on by password
machine-quota                directory  any user may join ten machines
short-passwords              directory  passwords of six characters are allowed
no-lockout                   directory  accounts are never locked out
no-preauthentication         directory  one account can be asked for without pre-authentication
unconstrained-delegation     directory  one service account may delegate to anything
anonymous-read               directory  dSHeuristics lets anonymous requests through
guest                        directory  Guest is enabled
old-krbtgt                   directory  the krbtgt key is ten years old
replication-right            directory  svc-portcullis may replicate secrets
no-deleted-objects           directory  svc-portcullis is not told of deletions any more
hidden-account               directory  svc-portcullis is not told the state of one account
foreign-authority            directory  an authority that nobody registered logs people on
hang                         process    the controller stops answering, connections stay open
offline                      process    the controller is switched off
LIST
}

member_kind() { worsenings | awk -v what="$1" '$1 == what { print $2 }'; }

member_apply() { # member_apply WHAT on|off ; the list in $D/worse is already as it shall be
  case $(member_kind "$1"):$1:$2 in
    server:*) member_stop; member_configure; member_start ;;
    directory:*) member_python "$2" "$1" --pki "$PKI/good" ;;
    process:hang:on) recorded "$D/run/lab.pid" && kill -STOP -- "-$PID" ;;
    process:hang:off) if recorded "$D/run/lab.pid"; then kill -CONT -- "-$PID"; fi ;;
    process:offline:on) member_stop ;;
    process:offline:off) member_stop; member_start ;;
  esac
}

member_worsen() {
  [ -n "$(member_kind "$1")" ] || { echo "lab: nothing is called '$1'; there are:" >&2; worsenings >&2; return 2; }
  if member_worse "$1"; then return 0; fi
  echo "$1" >> "$D/worse"
  member_apply "$1" on
}

member_mend() { # everything, or one thing
  local what restart=
  for what in ${1:-$(cat "$D/worse" 2> /dev/null)}; do
    if member_worse "$what"; then
      sed -i "/^$what\$/d" "$D/worse"
      if [ "$(member_kind "$what")" = server ]; then restart=$what; else member_apply "$what" off; fi
    fi
  done
  # one restart for all settings of the server
  if [ -n "$restart" ]; then member_apply "$restart" off; fi
}
