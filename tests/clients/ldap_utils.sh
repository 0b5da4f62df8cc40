# shellcheck shell=bash disable=SC2317,SC2034
# OpenLDAP's own tools at the front door: certificate, smartcard, refusals.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
card=$here/../../deploy/lab/with-card
door=$LAB_GATEWAY:636
export LDAPTLS_CACERT=$LAB_CA LDAPTLS_REQCERT=demand
out=$(mktemp)
trap 'rm -f "$out"' EXIT
bad=0
report() { if [ "$1" = 0 ]; then echo "ok    $2"; else echo "FAIL  $2"; head -5 "$out" | sed 's/^/      /'; bad=1; fi; }

# as LEAF TOOL ARGUMENTS: SASL EXTERNAL with that certificate of the lab's PKI
as() { local leaf=$1 tool=$2; shift 2; LDAPTLS_CERT=$LAB_PKI/$leaf.crt LDAPTLS_KEY=$LAB_PKI/$leaf.key timeout 20 "$tool" -Q -Y EXTERNAL -H "ldaps://$door" "$@"; }
# only the certificate in TLS, another bind
with() { local leaf=$1 tool=$2; shift 2; LDAPTLS_CERT=$LAB_PKI/$leaf.crt LDAPTLS_KEY=$LAB_PKI/$leaf.key timeout 20 "$tool" -H "ldaps://$door" "$@"; }
by_card() { local token=$1 tool=$2; shift 2; "$card" "$token" "$door" timeout 20 "$tool" -Q -Y EXTERNAL -H @ "$@"; }

succeeds() { local what=$1; shift; "$@" > "$out" 2>&1; report $? "$what"; }
shows() { local what=$1 pattern=$2; shift 2; "$@" > "$out" 2>&1 && grep -qiE -- "$pattern" "$out"; report $? "$what"; }
counts() { local what=$1 least=$2; shift 2; "$@" > "$out" 2>&1 && [ "$(grep -c '^dn:' "$out")" -ge "$least" ]; report $? "$what"; }
# refused CODE: by exactly that LDAP result, and without a single entry
refused() { local what=$1 code=$2; shift 2; "$@" > "$out" 2>&1; local got=$?; [[ $got =~ ^($code)$ ]] && ! grep -q '^dn:' "$out"; report $? "$what (result $got)"; }
# no session at all; a door that is simply down must not pass for a refusal
alive() { as $mail ldapwhoami > /dev/null 2>&1; }
no_session() { local what=$1; shift; alive || { report 1 "$what (the door is down)"; return; }; if "$@" > "$out" 2>&1; then report 1 "$what"; else ! grep -q '^dn:' "$out"; report $? "$what"; fi; }

mail=good/client-mail alice=good/sc-rxa-alice connector=good/connector-rxa
rxa=ou=RXA,o=federation rxb=ou=RXB,o=federation national=ou=national,o=federation
find_alice='(uid=alice)'

alive || { echo "FAIL  the front door does not answer on $door"; as $mail ldapwhoami; exit 1; }
shows "rootDSE names the tree" 'namingContexts: o=federation' as $mail ldapsearch -LLL -s base -b '' namingContexts
shows "rootDSE offers EXTERNAL" 'supportedSASLMechanisms: EXTERNAL' as $mail ldapsearch -LLL -s base -b '' supportedSASLMechanisms
succeeds "who am I, as an application" as $mail ldapwhoami
succeeds "who am I, by smartcard on PKCS#11" by_card rxa-alice ldapwhoami
start_tls() { local leaf=$1 tool=$2; shift 2; LDAPTLS_CERT=$LAB_PKI/$leaf.crt LDAPTLS_KEY=$LAB_PKI/$leaf.key timeout 20 "$tool" -Q -Y EXTERNAL -ZZ -H "ldap://$LAB_GATEWAY:389" "$@"; }
shows "lookup after StartTLS" '^mail: alice\.' start_tls $alice ldapsearch -LLL -b $rxa "$find_alice" mail
refused "without StartTLS there is no bind" 13 timeout 20 ldapwhoami -x -D "cn=alice,$rxa" -w secret -H "ldap://$LAB_GATEWAY:389"
shows "rootDSE offers StartTLS before it" '1\.3\.6\.1\.4\.1\.1466\.20037' timeout 20 ldapsearch -x -LLL -s base -b '' -H "ldap://$LAB_GATEWAY:389" supportedExtension

shows "the root of the tree" '^dn: o=federation' as $alice ldapsearch -LLL -s base -b o=federation
shows "one level below: the national directory" '^dn: ou=national,o=federation' as $alice ldapsearch -LLL -s one -b o=federation dn
shows "one level below: RXA" '^dn: ou=RXA,o=federation' as $alice ldapsearch -LLL -s one -b o=federation dn

shows "lookup by smartcard on PKCS#11" '^mail: alice\.' by_card rxa-alice ldapsearch -LLL -b $rxa "$find_alice" mail sn
shows "lookup by smartcard from a file" '^mail: alice\.' as $alice ldapsearch -LLL -b $rxa "$find_alice" mail
shows "lookup by a member's connector" '^mail: alice\.' as $connector ldapsearch -LLL -b $rxa "$find_alice" mail
shows "lookup by a national application" '^mail: alice\.' as $mail ldapsearch -LLL -b $rxa "$find_alice" mail
counts "many at once" 100 as $alice ldapsearch -LLL -z 0 -b $rxa '(ou=Cardiology)' cn
shows "names are the federation's" '^dn: .*ou=RXA,o=federation$' as $alice ldapsearch -LLL -o ldif-wrap=no -b $rxa "$find_alice" dn
hidden() { as $alice ldapsearch -LLL -b $rxa "$find_alice" '*' employeeNumber userAccountControl sAMAccountName > "$out" 2>&1 && ! grep -qiE '^(employeeNumber|userAccountControl|sAMAccountName|objectSid|memberOf|DC=)' "$out"; }
hidden; report $? "what is not released does not come"
none_by_hidden() { as $alice ldapsearch -LLL -b $rxa '(|(userAccountControl=*)(!(userAccountControl=*)))' dn > "$out" 2>&1; ! grep -q '^dn:' "$out"; }
none_by_hidden; report $? "what is not released cannot be asked for"
counts "the national directory's people" 1 as $mail ldapsearch -LLL -b $national '(mail=alice.*@rxa.nhs.test)' mail

dn=$(as $alice ldapsearch -LLL -o ldif-wrap=no -b $rxa "$find_alice" dn 2> /dev/null | sed -n 's/^dn: //p' | head -1)
value=$(as $alice ldapsearch -LLL -b $rxa "$find_alice" sn 2> /dev/null | sed -n 's/^sn: //p' | head -1)
refused "compare, true" 6 as $alice ldapcompare "${dn:-none}" "sn:${value:-none}"
refused "compare, false" 5 as $alice ldapcompare "${dn:-none}" "sn:Somebody Else"
shows "base search of one person" "^sn: " as $alice ldapsearch -LLL -s base -b "${dn:-none}" sn

# pages: as many entries whatever their size, over one directory and over all of them
paged() { as $mail ldapsearch -LLL -o ldif-wrap=no -E "!pr=$1/noprompt" -b "$2" '(objectClass=inetOrgPerson)' dn 2> "$out" | grep -c '^dn:'; }
of_rxa=$(paged 100 $rxa) of_rxc=$(paged 100 ou=RXC,o=federation) of_national=$(paged 333 $national) of_all=$(paged 250 o=federation)
[ "$of_rxa" -gt 1000 ] && [ "$(paged 999 $rxa)" = "$of_rxa" ]; report $? "paged results over a member ($of_rxa entries)"
[ "$of_all" -gt "$of_rxa" ] && [ "$of_all" = $((of_rxa + of_rxc + of_national)) ]; report $? "paged results over every directory ($of_all entries)"
in_order() { as $mail ldapsearch -LLL -E '!sss=uid' -b $rxa '(ou=Cardiology)' uid 2> "$out" | sed -n 's/^uid: //p' > "$out.uids"; [ "$(wc -l < "$out.uids")" -gt 20 ] && LC_ALL=C sort -c "$out.uids"; local code=$?; rm -f "$out.uids"; return $code; }
in_order; report $? "sorted on the server"
shows "matched values" '^mail: alice' as $mail ldapsearch -LLL -E '!mv=(mail=alice*)' -b $rxa "$find_alice" mail cn
refused "a control that would show what was deleted" 12 as $mail ldapsearch -LLL -e '!1.2.840.113556.1.4.417' -b $rxa "$find_alice"

refused "a closed member, to another's card: no such object" 32 as $alice ldapsearch -LLL -b $rxb '(uid=*)' mail
refused "a closed member, to its own connector: insufficient access" 50 as good/connector-rxb ldapsearch -LLL -b $rxb '(uid=*)' mail
refused "an unknown member: no such object" 32 as $alice ldapsearch -LLL -b ou=RZZ,o=federation '(uid=*)' mail
refused "outside the tree" 32 as $alice ldapsearch -LLL -b DC=rxa,DC=trust,DC=test '(uid=*)' mail
printf 'dn: cn=x,%s\nobjectClass: person\ncn: x\nsn: x\n' $rxa > "$out.ldif"
refused "add: unwilling" 53 as $alice ldapadd -f "$out.ldif"
refused "delete: unwilling" 53 as $alice ldapdelete "${dn:-cn=x,$rxa}"
printf 'dn: %s\nchangetype: modify\nreplace: sn\nsn: x\n' "${dn:-cn=x,$rxa}" > "$out.ldif"
refused "modify: unwilling" 53 as $alice ldapmodify -f "$out.ldif"
rm -f "$out.ldif"
refused "simple bind with a password" '(7|48|49|50|53)' with $mail ldapsearch -LLL -x -D "svc-portcullis@rxa.trust.test" -w "$LAB_SERVICE_PASSWORD" -b $rxa "$find_alice"
refused "a critical control that is not offered" 12 as $alice ldapsearch -LLL -e '!1.2.3.4.5.6.7=' -b $rxa "$find_alice"
refused "a stranger's good certificate sees nothing" '(32|48|49|50)' as good/client-stranger ldapsearch -LLL -b $rxa "$find_alice"
no_session "without a certificate" timeout 10 ldapsearch -LLL -Q -Y EXTERNAL -H "ldaps://$door" -b $rxa "$find_alice"
no_session "an expired certificate" as good/client-expired ldapsearch -LLL -b $rxa "$find_alice"
no_session "a certificate of a rogue CA" as rogue/client-mail ldapsearch -LLL -b $rxa "$find_alice"
no_session "a revoked card" by_card rxa-revoked ldapsearch -LLL -b $rxa "$find_alice"
no_session "an expired card" by_card rxa-expired ldapsearch -LLL -b $rxa "$find_alice"
no_session "a rogue card" by_card rxa-rogue ldapsearch -LLL -b $rxa "$find_alice"
no_session "a card with a weak key" as good/sc-rxa-weak ldapsearch -LLL -b $rxa "$find_alice"
exit $bad
