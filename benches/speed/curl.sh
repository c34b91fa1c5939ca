#!/usr/bin/env bash
# The same with curl: bash curl.sh DATABASE URL CONNECTIONS
set -euo pipefail
database=$1 url=$2 connections=$3
quick=(curl --silent --no-progress-meter --parallel --parallel-immediate --parallel-max "$connections" --header 'authorization: Bearer t')
mkdir found
# Answers of parallel transfers would mingle in one stream, so each has a file.
sqlite3 "$database" "SELECT 'url = \"$url/api/v1.0/account/lookup?email=' || replace(email, '@', '%40') || '\"', 'output = \"found/' || id || '\"' FROM requests" |
  tr '|' '\n' >lookups
"${quick[@]}" --config lookups
grep -ro '"sid":"[^"]*"' found | sed 's|found/\([0-9]*\):"sid":"\(.*\)"|\1,\2|' >present.csv
sed "s|.*,\(.*\)|url = \"$url/userinfo?service_id=\1\"|" present.csv >userinfos
"${quick[@]}" --config userinfos >shown
sqlite3 "$database" >/dev/null <<END
CREATE TEMP TABLE present (id INTEGER PRIMARY KEY, sid TEXT);
.mode csv
.import present.csv present
UPDATE requests SET verdict = 'absent';
UPDATE requests SET verdict = 'present', sid = (SELECT sid FROM present p WHERE p.id = requests.id) WHERE id IN (SELECT id FROM present);
.output report.csv
SELECT * FROM requests ORDER BY id;
END
