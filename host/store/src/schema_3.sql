-- Schema 3: what runs cost, and who waits for a connector.
--
-- A row of `run` may stand for several runs: CPU time and refusals are summed over them, memory is the most that one of them held.

ALTER TABLE run ADD COLUMN cpu_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN memory_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN denied INTEGER NOT NULL DEFAULT 0;

-- Those whose connector was not there: they are due as soon as it is.
CREATE INDEX connection_absent ON connection (connector) WHERE failure_code = 'NO_CONNECTOR';
