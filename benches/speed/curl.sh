#!/usr/bin/env bash
# The same with curl: bash curl.sh DATABASE URL CONNECTIONS
set -euo pipefail
database=$1 url=$2 connections=$3
quick=(curl --silent --parallel --parallel-immediate --parallel-max "$connections" --header 'authorization: Bearer t')
sqlite3 "$database" "SELECT 'url = \"$url/api/v1.0/account/lookup?email=' || replace(email, '@', '%40') || '&id=' || id || '\"' FROM requests" >lookups
"${quick[@]}" --config lookups --write-out ' %{http_code} %{url}\n' >found
sed -n 's|.*"sid":"\([^"]*\)".* 200 .*&id=\([0-9]*\)$|\2,\1|p' found >present.csv
sed "s|.*,\(.*\)|url = \"$url/userinfo?service_id=\1\"|" present.csv >userinfos
"${quick[@]}" --config userinfos --write-out '\n' >shown
sqlite3 "$database" >/dev/null <<END
CREATE TEMP TABLE present (id INTEGER PRIMARY KEY, sid TEXT);
.mode csv
.import present.csv present
UPDATE requests SET verdict = 'absent';
UPDATE requests SET verdict = 'present', sid = (SELECT sid FROM present p WHERE p.id = requests.id) WHERE id IN (SELECT id FROM present);
.output report.csv
SELECT * FROM requests ORDER BY id;
END
