#!/bin/sh
# Records every hello of testdata/hellos again, from the clients installed here: sh testdata/record/all.sh
set -eu
cd "$(dirname "$0")/../.."
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
go build -o "$bin" ./testdata/record ./testdata/record/goclient
PATH=$bin:$PATH

name=shop.example.com
openssl=$(openssl version | cut -d' ' -f1,2)
curl=$(curl --version | sed -n '1s/^\(curl [^ ]*\).*OpenSSL.\([^ ]*\).*/\1 (OpenSSL \2)/p')
gnutls="GnuTLS $(gnutls-cli --version | sed -n '1s/.* //p')"
node=$(node -p '`Node.js ${process.versions.node} (OpenSSL ${process.versions.openssl})`')
python=$(python3 -c 'import platform, ssl; print("Python", platform.python_version(), "(" + ssl.OPENSSL_VERSION + ")")')
java="OpenJDK $(java -version 2>&1 | sed -n '1s/.*"\(.*\)".*/\1/p')"
chromium=$(chromium --version 2>/dev/null | cut -d' ' -f1,2)
go=$(go env GOVERSION)

s_client() { # NAME NOTE ARGUMENTS
	file=$1 note=$2
	shift 2
	record -name "$file" -note "$note" -client "$openssl" -- openssl s_client -connect 127.0.0.1:{port} "$@"
}

record -name curl -client "$curl" -- curl -sk --resolve "$name:{port}:127.0.0.1" "https://$name:{port}/"
record -name curl-resumed -note "TLS 1.3 resumption: pre_shared_key" -connection 2 -client "$curl" -- \
	curl -sk --resolve "$name:{port}:127.0.0.1" "https://$name:{port}/" "https://$name:{port}/"
s_client openssl-tls1 "TLS 1.0" -servername "$name" -tls1 -cipher ALL:@SECLEVEL=0
s_client openssl-tls1_1 "TLS 1.1" -servername "$name" -tls1_1 -cipher ALL:@SECLEVEL=0
s_client openssl-tls1_2 "TLS 1.2" -servername "$name" -tls1_2
s_client openssl-tls1_3 "TLS 1.3" -servername "$name" -tls1_3
s_client openssl-noname "no server_name" -noservername
record -name openssl-tls1_2-resumed -note "TLS 1.2 resumption: session_ticket" -connection 2 -client "$openssl" -- \
	openssl s_client -connect 127.0.0.1:{port} -servername "$name" -tls1_2 -alpn h2,http/1.1 -reconnect
record -name gnutls -client "$gnutls" -- \
	gnutls-cli --insecure --sni-hostname="$name" --alpn=h2 --alpn=http/1.1 --port={port} 127.0.0.1
record -name node -client "$node" -- node -e \
	"require('tls').connect({port: {port}, host: '127.0.0.1', servername: '$name', ALPNProtocols: ['h2', 'http/1.1']})"
record -name python -client "$python" -- python3 -c "import socket, ssl
tcp = socket.create_connection(('127.0.0.1', {port}))
ssl.create_default_context().wrap_socket(tcp, server_hostname='$name')"
record -name java -client "$java" -- java testdata/record/Hello.java {port} "$name"
record -name go -note "X25519MLKEM768" -client "$go crypto/tls" -- goclient {port} "$name"
record -name go-ech -note "ECH, not GREASE: an outer hello with the public name" -client "$go crypto/tls" -- \
	goclient {port} "secret.$name" "public.$name"
for n in 1 2; do
	record -name "chromium-$n" -note "GREASE, ECH GREASE, X25519MLKEM768, extensions in random order" -client "$chromium" -- \
		chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
		--disable-component-update --disable-sync --user-data-dir={dir} "--host-resolver-rules=MAP * 127.0.0.1" \
		"https://$name:{port}/"
done
