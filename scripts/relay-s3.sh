#!/usr/bin/env bash
# Two relays whose chunks lie in S3: against moto's server (PyPI), which is installed into the cache if it is not there.
set -euo pipefail
cd "$(dirname "$0")/.."
home="${XDG_CACHE_HOME:-$HOME/.cache}/clave/moto"
if [ ! -x "$home/bin/moto_server" ]; then
    if ! { python3 -m venv "$home" && "$home/bin/pip" install --quiet 'moto[server,s3]'; }; then
        echo "SKIPPED: relays with S3: moto cannot be installed"
        exit
    fi
fi
log=$(mktemp)
"$home/bin/moto_server" -H 127.0.0.1 -p 0 > "$log" 2>&1 &
server=$!
trap 'kill "$server"; rm -f "$log"' EXIT
until port=$(sed -n 's#.*Running on http://127.0.0.1:\([0-9]*\).*#\1#p' "$log") && [ -n "$port" ]; do
    kill -0 "$server"
    sleep 0.1
done
export AWS_ENDPOINT="http://127.0.0.1:$port" AWS_ALLOW_HTTP=true AWS_REGION=us-east-1
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test CLAVE_S3=s3://chunks/relays
curl --silent --fail -X PUT "$AWS_ENDPOINT/chunks" > /dev/null
cargo test --quiet -p clave-relay --test mailbox -- --nocapture --exact cluster::chunks_lie_in_s3
objects=$(curl --silent "$AWS_ENDPOINT/chunks?list-type=2" | grep -o '<Key>relays/' | wc -l)
echo "$objects objects in the bucket"
[ "$objects" -eq 20 ]
