-- Clients whose web login asks by an address (npm's) must not find their token there, since addresses are kept by logs
-- and proxies. Their secret only fetches a token of its own, once. And who asks too often is told so.
ALTER TABLE device_logins ADD COLUMN fetches BIGINT NOT NULL DEFAULT 0;
ALTER TABLE device_logins ADD COLUMN polled_at BIGINT;
