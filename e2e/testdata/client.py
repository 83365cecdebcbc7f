"""A client: python3 client.py PORT AUTHORITY PATH NAME...

Gets PATH from each name with TLS 1.2 and with TLS 1.3, all from 127.0.0.1:PORT, and prints what it saw, a line of JSON
for each.
"""
import hashlib
import http.client
import json
import socket
import ssl
import sys


def get(port, authority, path, name, version):
    context = ssl.create_default_context(cafile=authority)
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["http/1.1"])
    connection = http.client.HTTPSConnection(name, port, timeout=60)
    tcp = socket.create_connection(("127.0.0.1", port), timeout=60)
    tls = connection.sock = context.wrap_socket(tcp, server_hostname=name)
    seen = {
        "name": name,
        "fingerprint": hashlib.sha256(tls.getpeercert(binary_form=True)).hexdigest(),
        "version": tls.version(),
    }
    connection.request("GET", path, headers={"Connection": "close"})
    seen["sha256"] = hashlib.sha256(connection.getresponse().read()).hexdigest()
    tls.close()
    return seen


port, authority, path, *names = sys.argv[1:]
for name in names:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        print(json.dumps(get(int(port), authority, path, name, version)), flush=True)
