-- From which browser a session was begun, so that the other ones of an account can be forgotten.
ALTER TABLE sessions ADD COLUMN device_hash TEXT;

-- Names of erased accounts hold a character that no user name may have.
UPDATE accounts SET name = 'erased:' || id, name_key = 'erased:' || id WHERE erased_at IS NOT NULL;
