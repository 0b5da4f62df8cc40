# shellcheck shell=bash disable=SC2154
# OpenLDAP's slapd as the national directory. Sourced after settings.sh.
N=$LAB/national

national_configure() {
  rm -rf "$N"
  mkdir -p "$N/db" "$N/run"
  local schema='' index='' gateway="dn.exact=\"cn=portcullis,ou=services,$NATIONAL_SUFFIX\""
  if [ -s "$here/national/portcullis.schema" ]; then
    schema="include $here/national/portcullis.schema" index='index portcullisAnchor,portcullisMember eq'
  fi
  # authz-regexp maps the gateway's client certificate to its entry. A certificate that is not mapped still
  # authenticates, as its own DN: so every rule names an entry, none says "users".
  cat > "$N/slapd.conf" <<CONF
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
$schema
pidfile $N/run/slapd.pid
argsfile $N/run/slapd.args
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload syncprov
moduleload sssvlv
sizelimit 2000
TLSCACertificateFile $PKI/good/ca.crt
TLSCertificateFile $PKI/good/national.crt
TLSCertificateKeyFile $PKI/good/national.key
TLSVerifyClient try
TLSProtocolMin 3.3
authz-regexp "^cn=portcullis,ou=services,o=lab\$" "cn=portcullis,ou=services,$NATIONAL_SUFFIX"
database mdb
suffix "$NATIONAL_SUFFIX"
rootdn "cn=admin,$NATIONAL_SUFFIX"
rootpw $NATIONAL_PW
directory $N/db
maxsize 4294967296
dbnosync
index objectClass,entryUUID,entryCSN eq
index uid,employeeNumber,mail,o eq
index cn,sn eq,sub
$index
limits $gateway size=unlimited time=unlimited
access to attrs=userPassword by self =xw by anonymous auth by * none
access to dn.subtree="ou=people,$NATIONAL_SUFFIX" by $gateway write by self read by * none
access to dn.subtree="ou=services,$NATIONAL_SUFFIX" by self read by $gateway read by * none
access to dn.exact="$NATIONAL_SUFFIX" by $gateway read by * search
access to * by $gateway read by * none
overlay sssvlv
overlay syncprov
syncprov-checkpoint 1000 5
syncprov-sessionlog 10000
CONF
  slapadd -q -f "$N/slapd.conf" > "$N/run/slapadd" 2>&1 <<LDIF || { cat "$N/run/slapadd" >&2; return 1; }
dn: $NATIONAL_SUFFIX
objectClass: dcObject
objectClass: organization
dc: national
o: National Directory

dn: ou=people,$NATIONAL_SUFFIX
objectClass: organizationalUnit
ou: people

dn: ou=services,$NATIONAL_SUFFIX
objectClass: organizationalUnit
ou: services

dn: cn=portcullis,ou=services,$NATIONAL_SUFFIX
objectClass: applicationProcess
objectClass: simpleSecurityObject
cn: portcullis
userPassword: $SERVICE_PW

LDIF
}

national_start() {
  setsid slapd -d 0 -f "$N/slapd.conf" -h "ldap://$NATIONAL_IP:389/ ldaps://$NATIONAL_IP:636/" > "$N/run/stdout" 2>&1 < /dev/null &
  record "$N/run/lab.pid" $!
  for _ in $(seq 1 200); do
    recorded "$N/run/lab.pid" || { echo "lab: slapd ended at once:" >&2; tail -5 "$N/run/stdout" >&2; return 1; }
    if answers "$NATIONAL_IP" namingContexts; then return 0; fi
    sleep 0.05
  done
  echo "lab: the national directory does not answer on $NATIONAL_IP" >&2
  return 1
}

national_stop() { stop_recorded "$N/run/lab.pid"; }
