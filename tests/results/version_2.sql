BEGIN TRANSACTION;
CREATE TABLE board (
        run INTEGER REFERENCES run(id), id TEXT, position INTEGER, chip TEXT, firmware_name TEXT,
        firmware_version TEXT, firmware_sha256 TEXT, problem TEXT DEFAULT '', facts TEXT DEFAULT '{}',
        PRIMARY KEY (run, id));
INSERT INTO "board" VALUES(1,'zeta',0,'esp32','ESP32_GENERIC-20250809-v1.26.0.bin','v1.26.0','abababababababababababababababababababababababababababababababab','','{"heap_total": 56000, "machine": "x''y"}');
INSERT INTO "board" VALUES(1,'alpha',1,'esp32','','','','no power','{"heap_total": 56000, "machine": "x''y"}');
INSERT INTO "board" VALUES(2,'zeta',0,'esp32','ESP32_GENERIC-20250809-v1.26.0.bin','v1.26.0','abababababababababababababababababababababababababababababababab','','{"heap_total": 56000, "machine": "x''y"}');
INSERT INTO "board" VALUES(2,'alpha',1,'esp32','','','','no power','{"heap_total": 56000, "machine": "x''y"}');
CREATE TABLE calibration (
        board TEXT, firmware_sha256 TEXT, taken REAL, fit TEXT, PRIMARY KEY (board, firmware_sha256));
INSERT INTO "calibration" VALUES('zeta','abababababababababababababababababababababababababababababababab',1.79526438485707807548e+09,'{"scale": 1.5, "spread": 0.1, "points": [{"name": "loop", "measured_us": 3.0, "cost": 2.0}]}');
CREATE TABLE measurement (
        scenario INTEGER REFERENCES scenario(id), position INTEGER, name TEXT, kind TEXT, unit TEXT, measured TEXT,
        reference TEXT, "limit" TEXT, verdict TEXT, rule TEXT, samples TEXT);
INSERT INTO "measurement" VALUES(1,0,'x','heap','B','48','48','exactly 48 B','pass','to the byte','[48, 48, 64]');
INSERT INTO "measurement" VALUES(1,1,'t','time','us','12.5','null','at most 3 µs','pass','','[]');
INSERT INTO "measurement" VALUES(1,2,'s','state','-','"ok\u0000''\""','"ok"','exactly ok','fail','','[]');
INSERT INTO "measurement" VALUES(2,0,'x','heap','B','48','48','exactly 48 B','pass','to the byte','[48, 48, 64]');
INSERT INTO "measurement" VALUES(4,0,'x','heap','B','64','48','exactly 48 B','fail','to the byte','[48, 48, 64]');
INSERT INTO "measurement" VALUES(4,1,'t','time','us','12.5','null','at most 3 µs','pass','','[]');
INSERT INTO "measurement" VALUES(4,2,'s','state','-','"ok\u0000''\""','"ok"','exactly ok','fail','','[]');
INSERT INTO "measurement" VALUES(5,0,'x','heap','B','64','48','exactly 48 B','fail','to the byte','[48, 48, 64]');
CREATE TABLE run (id INTEGER PRIMARY KEY, started REAL, finished REAL DEFAULT 0, command TEXT);
INSERT INTO "run" VALUES(1,1.79526438485167479509e+09,1.79526438485468029979e+09,'harness run 0');
INSERT INTO "run" VALUES(2,1.79526438485494351385e+09,0.0,'harness run 1');
CREATE TABLE scenario (
        id INTEGER PRIMARY KEY, run INTEGER, board TEXT, suite TEXT, name TEXT, outcome TEXT, reason TEXT,
        started REAL, seconds REAL);
INSERT INTO "scenario" VALUES(1,1,'zeta','reload','leaks','fail','s is wrong',1000.25,1.5);
INSERT INTO "scenario" VALUES(2,1,'zeta','reload','leaks','pass','',1002.25,1.5);
INSERT INTO "scenario" VALUES(3,1,'zeta','reload','files','error','the port
vanished',1004.25,0.5);
INSERT INTO "scenario" VALUES(4,2,'zeta','reload','leaks','fail','s is wrong',1000.25,1.5);
INSERT INTO "scenario" VALUES(5,2,'zeta','reload','leaks','pass','',1002.25,1.5);
INSERT INTO "scenario" VALUES(6,2,'zeta','reload','files','error','the port
vanished',1004.25,0.5);
CREATE INDEX scenario_of_board ON scenario (run, board);
CREATE INDEX measurement_of_scenario ON measurement (scenario);
COMMIT;
PRAGMA user_version=2;
