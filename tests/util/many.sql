-- A ledger of :entries entries as a long outage would leave it, for what a page must carry: background noise over thirty
-- hours, and nine in ten requests within two. Everything follows from an entry's number, so it is the same every time.
CREATE TEMP TABLE many AS
WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < :entries)
SELECT n, n * 7919 % 1009 AS a, n * 104729 % 997 AS b,
  -- 2026-03-01T00:00:00Z and, for the outage, 17:42 that day.
  1772323200000 + CASE WHEN n % 10 = 0
    THEN n * 48271 % 108000 * 1000
    ELSE 63720000 + (n * 69621 % 4109 + n * 16807 % 4111) * 1000 END AS sent
FROM number;

CREATE TEMP TABLE told AS
SELECT n, a, b, sent,
  CASE WHEN a % 100 < 55 THEN 'http' WHEN a % 100 < 75 THEN 'timeout' WHEN a % 100 < 92 THEN 'network' WHEN a % 100 < 97 THEN 'intent' ELSE 'not_sent' END AS failure,
  CASE WHEN a % 5 < 3 THEN 'register-account' WHEN a % 5 = 3 THEN 'register-parent' WHEN a % 10 < 5 THEN 'update-account' ELSE 'delete-account' END AS operation,
  CASE
    WHEN b % 100 < 38 THEN 'resolved applied created store-id'
    WHEN b % 100 < 58 THEN 'resolved satisfied present store-id'
    WHEN b % 100 < 76 THEN 'resolved not-applied confirmed-absent resend'
    WHEN b % 100 < 80 THEN 'resolved not-applied never-sent resend'
    WHEN b % 100 < 84 THEN 'resolved satisfied state-fetched apply-state'
    WHEN b % 100 < 87 THEN 'resolved not-applied preexisting do-not-resend'
    WHEN b % 100 < 89 THEN 'resolved satisfied equivalent none'
    WHEN b % 100 < 91 THEN 'duplicate-risk unknown key-taken review'
    WHEN b % 100 < 93 THEN 'duplicate-risk duplicated duplicated ask-privo'
    WHEN b % 100 < 95 THEN 'duplicate-risk unknown unobservable ask-privo'
    WHEN b % 100 < 97 THEN 'pending - unconfirmed wait'
    ELSE 'pending - unsettled may-resend'
  END AS verdict
FROM many;

CREATE TEMP TABLE split AS
SELECT *, json('["' || replace(verdict, ' ', '","') || '"]') AS words FROM told;

INSERT INTO runs (id, command, started_ms, ended_ms, version, plan, plan_digest, server, windows, examined, requests, settled, deferred, controls)
VALUES (1, 'run', 1772430000000, 1772430600000, '0.1.0', 'privo-gateway',
  'ab0652c2598eedd4015c747dd593a2becd4a060c1ddf5bbed73c30f7a1cb760a', 'https://api.partner.example',
  '{"network":900000,"server_error":86400000,"intent":900000,"replica_lag":0,"confirm_after":600000,"expire_after":2592000000,"webhook":300000,"watch":604800000}',
  :entries, :entries * 3, :entries, 0,
  '[["account-by-email",{"known":"held","random":"held","cause":null}],["children-of-parent",{"known":"held","random":"held","cause":null}]]');

INSERT INTO entries (request_id, operation_id, method, url, sent_at, failure, http_status)
SELECT printf('%08x-%04x', n * 2654435761 % 4294967296, n % 65536), printf('op-%05d', n - (n % 4 = 0)),
  'POST', 'https://api.partner.example/api/v1.0/account',
  strftime('%Y-%m-%dT%H:%M:%SZ', sent / 1000, 'unixepoch'), failure, CASE failure WHEN 'http' THEN 502 + a % 3 END
FROM split ORDER BY n;

INSERT INTO readings (entry_id, facts)
SELECT n, json_object('class', 'planned', 'operation', operation, 'method', 'POST', 'path', '/api/v1.0/account',
  'subject', char(97 + n % 26) || '***@e***.com', 'direction', 'outbound', 'failure', failure,
  'http_status', CASE failure WHEN 'http' THEN 502 + a % 3 END, 'sent', sent, 'ended', sent + 10000, 'window', 'network',
  'identity', printf('%032x', n - (n % 4 = 0)), 'repeat_blocked', json('true'), 'effects', json('[]'))
FROM split;

INSERT INTO verdicts (id, entry_id, run_id, decided_ms, status, outcome, reason, action, server_id, matched_on, explanation, correction)
SELECT n, n, 1, 1772430300000, words ->> 0, words ->> 1, words ->> 2, words ->> 3,
  CASE WHEN words ->> 3 = 'store-id' THEN printf('%016x', n * 2862933555777 % 9007199254740991) END,
  CASE WHEN words ->> 3 = 'store-id' THEN 'email, birth_date, given_name' END,
  CASE words ->> 2 WHEN 'confirmed-absent' THEN
    'absent at 2026-03-02T06:00:00.000Z and 2026-03-02T06:11:00.000Z, both after 2026-03-02T05:40:00.000Z, with controls; this assumes that nothing is applied later than 15m after a network failure or 24h after a server error, a replica lag of 0s, and that nobody removed the record meanwhile'
    ELSE 'the record exists; which request made it cannot be known, and it is there once' END,
  n % 2500 = 0 AND words ->> 2 = 'created'
FROM split WHERE words ->> 0 != 'pending';

UPDATE state SET sent_ms = s.sent, status = s.words ->> 0, reason = s.words ->> 2,
  action = s.words ->> 3, verdict_id = CASE WHEN s.words ->> 0 != 'pending' THEN entry_id END,
  explanation = CASE WHEN s.words ->> 0 = 'pending' THEN 'absent at 2026-03-02T06:00:00.000Z, to be seen again' END,
  not_before_ms = CASE WHEN s.words ->> 0 = 'pending' THEN 1772440000000 END,
  checks = 1 + n % 5, first_checked_ms = 1772430000000, last_checked_ms = 1772430200000 + n % 100000, due_ms = NULL
FROM split AS s WHERE s.n = entry_id;
