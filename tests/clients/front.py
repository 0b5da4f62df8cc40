"""How the suites in Python come to the front door of the running lab."""
import os

import ldap
import ldap.sasl

PKI, GATEWAY = os.environ["LAB_PKI"], os.environ["LAB_GATEWAY"]


def connect(certificate):
    """A connection that is bound by this certificate of the lab (SASL EXTERNAL)."""
    connection = ldap.initialize(f"ldaps://{GATEWAY}")
    for option, value in ((ldap.OPT_X_TLS_CACERTFILE, os.environ["LAB_CA"]), (ldap.OPT_X_TLS_CERTFILE, f"{PKI}/good/{certificate}.crt"),
                          (ldap.OPT_X_TLS_KEYFILE, f"{PKI}/good/{certificate}.key"), (ldap.OPT_X_TLS_NEWCTX, 0)):
        connection.set_option(option, value)
    connection.network_timeout, connection.timeout = 10, 40
    connection.sasl_interactive_bind_s("", ldap.sasl.external())
    return connection
