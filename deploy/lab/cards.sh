# shellcheck shell=bash
# Smartcards as SoftHSM tokens, one token a card, key id 01, PIN $PIN. Sourced after settings.sh.
export SOFTHSM2_CONF=$LAB/cards/softhsm2.conf

card() { # card ROOT LEAF TOKEN
  local work=$LAB/cards/$3.work
  softhsm2-util --init-token --free --label "$3" --pin "$PIN" --so-pin "$SO_PIN" > /dev/null
  softhsm2-util --import "$PKI/$1/$2.key" --token "$3" --label "$3" --id 01 --pin "$PIN" > /dev/null
  openssl x509 -in "$PKI/$1/$2.crt" -outform DER -out "$work"
  pkcs11-tool --module "$P11_MODULE" --token-label "$3" --login --pin "$PIN" --write-object "$work" --type cert --id 01 --label "$3" > /dev/null 2>&1
  rm -f "$work"
}

cards_make() {
  rm -rf "$LAB/cards"
  mkdir -p "$LAB/cards/tokens"
  printf 'directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n' "$LAB/cards/tokens" > "$SOFTHSM2_CONF"
  local name
  for name in $MEMBERS; do
    card good "sc-$name-alice" "$name-alice"
    card good "sc-$name-monitor" "$name-monitor"
  done
  card good sc-rxa-bob rxa-bob
  local kind
  for kind in expired revoked noeku; do card good "sc-rxa-$kind" "rxa-$kind"; done
  card rogue sc-rxa-rogue rxa-rogue
}

# client side of Kerberos for every member; MIT's parser wants the closing brace on a line of its own
kerberos_configure() {
  {
    printf '[libdefaults]\n  default_realm = RXA.TRUST.TEST\n  dns_lookup_realm = false\n  dns_lookup_kdc = false\n'
    printf '  dns_canonicalize_hostname = false\n  rdns = false\n[realms]\n'
    local name
    for name in $MEMBERS; do
      member_settings "$name"
      printf '  %s = {\n    kdc = %s\n    pkinit_anchors = FILE:%s/good/ca.crt\n    pkinit_kdc_hostname = dc1.%s\n  }\n' "$REALM" "$IP" "$PKI" "$DNS"
    done
  } > "$LAB/krb5.conf"
}
