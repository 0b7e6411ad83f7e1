-- Written by penstock.store.revise, of 0045_log_segments.
CREATE TABLE audit_blocks (
	chain VARCHAR(32) NOT NULL,
	first BIGINT NOT NULL,
	lines INTEGER NOT NULL,
	first_at BIGINT NOT NULL,
	last_at BIGINT NOT NULL,
	head VARCHAR(64) NOT NULL,
	marks BLOB NOT NULL,
	content BLOB NOT NULL,
	CONSTRAINT pk_audit_blocks PRIMARY KEY (chain, first)
);
CREATE INDEX ix_audit_blocks_last_at ON audit_blocks (last_at);
CREATE TABLE audit_chains (
	id VARCHAR(32) NOT NULL,
	number BIGINT NOT NULL,
	writer VARCHAR(512) NOT NULL,
	began BIGINT NOT NULL,
	lines BIGINT NOT NULL,
	head VARCHAR(64) NOT NULL,
	removed BIGINT NOT NULL,
	removed_head VARCHAR(64) NOT NULL,
	state VARCHAR(8) NOT NULL,
	"key" BLOB NOT NULL,
	seal VARCHAR(64) NOT NULL,
	CONSTRAINT pk_audit_chains PRIMARY KEY (id),
	CONSTRAINT uq_audit_chains_number UNIQUE (number)
);
CREATE TABLE audit_positions (
	trail VARCHAR(36) NOT NULL,
	chain VARCHAR(32) NOT NULL,
	lines BIGINT NOT NULL,
	until BIGINT,
	CONSTRAINT pk_audit_positions PRIMARY KEY (trail, chain)
);
CREATE TABLE audit_trails (
	id VARCHAR(36) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name VARCHAR(128) NOT NULL,
	arn VARCHAR(256) NOT NULL,
	bucket VARCHAR(64) NOT NULL,
	prefix VARCHAR(200) NOT NULL,
	"key" VARCHAR(256) NOT NULL,
	everywhere BOOLEAN NOT NULL,
	nowhere BOOLEAN NOT NULL,
	selectors TEXT NOT NULL,
	chosen BOOLEAN NOT NULL,
	periods TEXT NOT NULL,
	tags TEXT NOT NULL,
	created BIGINT NOT NULL,
	delivered BIGINT,
	attempted BIGINT,
	error TEXT NOT NULL,
	CONSTRAINT pk_audit_trails PRIMARY KEY (id),
	CONSTRAINT uq_audit_trails_account_name_region UNIQUE (account, name, region)
);
CREATE TABLE build_projects (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name VARCHAR(255) NOT NULL,
	document TEXT NOT NULL,
	created BIGINT NOT NULL,
	modified BIGINT NOT NULL,
	number INTEGER NOT NULL,
	CONSTRAINT pk_build_projects PRIMARY KEY (account, region, name)
);
CREATE TABLE build_tokens (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	operation VARCHAR(32) NOT NULL,
	token VARCHAR(64) NOT NULL,
	digest VARCHAR(64) NOT NULL,
	build VARCHAR(320) NOT NULL,
	expires BIGINT NOT NULL,
	CONSTRAINT pk_build_tokens PRIMARY KEY (account, region, operation, token)
);
CREATE TABLE builds (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	id VARCHAR(320) NOT NULL,
	project VARCHAR(255) NOT NULL,
	number INTEGER NOT NULL,
	state TEXT NOT NULL,
	document TEXT NOT NULL,
	private TEXT NOT NULL,
	complete BOOLEAN NOT NULL,
	sequence INTEGER NOT NULL,
	started BIGINT NOT NULL,
	node VARCHAR(64) NOT NULL,
	CONSTRAINT pk_builds PRIMARY KEY (account, region, id)
);
CREATE INDEX ix_builds_project ON builds (account, region, project, number);
CREATE INDEX ix_builds_started ON builds (account, region, started, id);
CREATE TABLE cloudwatch_alarm_history (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	alarm VARCHAR(255) NOT NULL,
	at BIGINT NOT NULL,
	id VARCHAR(64) NOT NULL,
	kind VARCHAR(16) NOT NULL,
	item VARCHAR(32) NOT NULL,
	summary TEXT NOT NULL,
	data TEXT NOT NULL,
	CONSTRAINT pk_cloudwatch_alarm_history PRIMARY KEY (account, region, alarm, at, id)
);
CREATE INDEX ix_cloudwatch_alarm_history_at ON cloudwatch_alarm_history (at);
CREATE TABLE cloudwatch_alarm_sources (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	source VARCHAR(300) NOT NULL,
	alarm VARCHAR(255) NOT NULL,
	CONSTRAINT pk_cloudwatch_alarm_sources PRIMARY KEY (account, region, source, alarm)
);
CREATE INDEX ix_cloudwatch_alarm_sources_alarm ON cloudwatch_alarm_sources (account, region, alarm);
CREATE TABLE cloudwatch_alarms (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	id VARCHAR(255) NOT NULL,
	state TEXT NOT NULL,
	sequence INTEGER NOT NULL,
	kind VARCHAR(16) NOT NULL,
	value VARCHAR(20) NOT NULL,
	due BIGINT NOT NULL,
	watch TEXT NOT NULL,
	tags TEXT NOT NULL,
	CONSTRAINT pk_cloudwatch_alarms PRIMARY KEY (account, region, id)
);
CREATE INDEX ix_cloudwatch_alarms_due ON cloudwatch_alarms (due);
CREATE TABLE cloudwatch_data (
	metric BLOB NOT NULL,
	tier INTEGER NOT NULL,
	start BIGINT NOT NULL,
	unit VARCHAR(16) NOT NULL,
	points BLOB NOT NULL,
	CONSTRAINT pk_cloudwatch_data PRIMARY KEY (metric, tier, start, unit)
);
CREATE INDEX ix_cloudwatch_data_start ON cloudwatch_data (tier, start);
CREATE TABLE cloudwatch_metrics (
	id BLOB NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	namespace VARCHAR(255) NOT NULL,
	name VARCHAR(255) NOT NULL,
	dimensions TEXT NOT NULL,
	seen BIGINT NOT NULL,
	CONSTRAINT pk_cloudwatch_metrics PRIMARY KEY (id)
);
CREATE INDEX ix_cloudwatch_metrics_name ON cloudwatch_metrics (account, region, namespace, name, id);
CREATE INDEX ix_cloudwatch_metrics_seen ON cloudwatch_metrics (seen);
CREATE TABLE deliveries (
	subscription VARCHAR(128) NOT NULL,
	aggregate VARCHAR(512) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	sequence BIGINT NOT NULL,
	state VARCHAR(10) NOT NULL,
	failures INTEGER NOT NULL,
	error TEXT,
	position BIGINT NOT NULL,
	CONSTRAINT pk_deliveries PRIMARY KEY (subscription, aggregate, account, region, sequence)
);
CREATE INDEX ix_deliveries_position ON deliveries (position);
CREATE TABLE deployments_applications (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name VARCHAR(100) NOT NULL,
	id VARCHAR(36) NOT NULL,
	platform VARCHAR(8) NOT NULL,
	tags TEXT NOT NULL,
	created BIGINT NOT NULL,
	CONSTRAINT pk_deployments_applications PRIMARY KEY (account, region, name)
);
CREATE TABLE deployments_configs (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name VARCHAR(100) NOT NULL,
	id VARCHAR(36) NOT NULL,
	body TEXT NOT NULL,
	tags TEXT NOT NULL,
	created BIGINT NOT NULL,
	CONSTRAINT pk_deployments_configs PRIMARY KEY (account, region, name)
);
CREATE TABLE deployments_deployments (
	id VARCHAR(16) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	application VARCHAR(100) NOT NULL,
	group_name VARCHAR(100) NOT NULL,
	group_id VARCHAR(36) NOT NULL,
	number INTEGER NOT NULL,
	status VARCHAR(12) NOT NULL,
	body TEXT NOT NULL,
	state TEXT NOT NULL,
	links TEXT NOT NULL,
	created BIGINT NOT NULL,
	version INTEGER NOT NULL,
	CONSTRAINT pk_deployments_deployments PRIMARY KEY (id)
);
CREATE INDEX ix_deployments_deployments_group ON deployments_deployments (group_id, status, number);
CREATE INDEX ix_deployments_deployments_owner ON deployments_deployments (account, region, created, id);
CREATE TABLE deployments_groups (
	id VARCHAR(36) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	application VARCHAR(100) NOT NULL,
	name VARCHAR(100) NOT NULL,
	body TEXT NOT NULL,
	tags TEXT NOT NULL,
	state TEXT NOT NULL,
	sequence INTEGER NOT NULL,
	active VARCHAR(16),
	attempted VARCHAR(16),
	successful VARCHAR(16),
	revision TEXT,
	digest VARCHAR(64),
	created BIGINT NOT NULL,
	CONSTRAINT pk_deployments_groups PRIMARY KEY (id),
	CONSTRAINT uq_deployments_groups_account_region_application_name UNIQUE (account, region, application, name)
);
CREATE TABLE deployments_health (
	group_id VARCHAR(36) NOT NULL,
	name VARCHAR(100) NOT NULL,
	healthy BOOLEAN NOT NULL,
	installed VARCHAR(64) NOT NULL,
	updated BIGINT NOT NULL,
	CONSTRAINT pk_deployments_health PRIMARY KEY (group_id, name)
);
CREATE TABLE deployments_hook_logs (
	deployment VARCHAR(16) NOT NULL,
	position INTEGER NOT NULL,
	event INTEGER NOT NULL,
	log TEXT NOT NULL,
	updated BIGINT NOT NULL,
	CONSTRAINT pk_deployments_hook_logs PRIMARY KEY (deployment, position, event)
);
CREATE TABLE deployments_instances (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name VARCHAR(100) NOT NULL,
	kind VARCHAR(12) NOT NULL,
	iam_arn VARCHAR(1011) NOT NULL,
	iam_kind VARCHAR(8) NOT NULL,
	principal VARCHAR(128),
	arn VARCHAR(1011) NOT NULL,
	tags TEXT NOT NULL,
	registered BIGINT NOT NULL,
	deregistered BIGINT,
	seen BIGINT,
	agent VARCHAR(100) NOT NULL,
	CONSTRAINT pk_deployments_instances PRIMARY KEY (account, region, name)
);
CREATE UNIQUE INDEX uq_deployments_instances_iam ON deployments_instances (account, region, iam_arn) WHERE deregistered IS NULL;
CREATE TABLE deployments_revisions (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	application VARCHAR(100) NOT NULL,
	digest VARCHAR(64) NOT NULL,
	location TEXT NOT NULL,
	bucket VARCHAR(255) NOT NULL,
	"key" VARCHAR(1024) NOT NULL,
	description TEXT NOT NULL,
	registered BIGINT NOT NULL,
	first_used BIGINT,
	last_used BIGINT,
	CONSTRAINT pk_deployments_revisions PRIMARY KEY (account, region, application, digest)
);
CREATE TABLE deployments_signers (
	id INTEGER NOT NULL,
	certificate TEXT NOT NULL,
	sealed_key BLOB NOT NULL,
	created BIGINT NOT NULL,
	CONSTRAINT pk_deployments_signers PRIMARY KEY (id)
);
CREATE TABLE deployments_targets (
	deployment VARCHAR(16) NOT NULL,
	position INTEGER NOT NULL,
	name VARCHAR(100) NOT NULL,
	arn VARCHAR(1011) NOT NULL,
	status VARCHAR(12) NOT NULL,
	healthy BOOLEAN NOT NULL,
	seen BOOLEAN NOT NULL,
	current INTEGER,
	acknowledged BOOLEAN NOT NULL,
	deadline BIGINT,
	updated BIGINT,
	events TEXT,
	CONSTRAINT pk_deployments_targets PRIMARY KEY (deployment, position),
	CONSTRAINT uq_deployments_targets_deployment_name UNIQUE (deployment, name)
);
CREATE INDEX ix_deployments_targets_acknowledged ON deployments_targets (name) WHERE acknowledged IS 1;
CREATE INDEX ix_deployments_targets_status ON deployments_targets (deployment, status, position);
CREATE TABLE event_api_destinations (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name VARCHAR(64) NOT NULL,
	id VARCHAR(36) NOT NULL,
	description TEXT,
	connection TEXT NOT NULL,
	endpoint TEXT NOT NULL,
	method VARCHAR(8) NOT NULL,
	rate INTEGER NOT NULL,
	second BIGINT NOT NULL,
	taken INTEGER NOT NULL,
	created BIGINT NOT NULL,
	changed BIGINT NOT NULL,
	CONSTRAINT pk_event_api_destinations PRIMARY KEY (account, region, name)
);
CREATE TABLE event_archived (
	archive VARCHAR(36) NOT NULL,
	id VARCHAR(36) NOT NULL,
	first BIGINT NOT NULL,
	last BIGINT NOT NULL,
	came BIGINT NOT NULL,
	events INTEGER NOT NULL,
	size BIGINT NOT NULL,
	content BLOB NOT NULL,
	CONSTRAINT pk_event_archived PRIMARY KEY (archive, id)
);
CREATE INDEX ix_event_archived_first ON event_archived (archive, first, id);
CREATE TABLE event_archives (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name VARCHAR(48) NOT NULL,
	id VARCHAR(36) NOT NULL,
	bus VARCHAR(256) NOT NULL,
	description TEXT,
	pattern TEXT,
	retention INTEGER NOT NULL,
	created BIGINT NOT NULL,
	CONSTRAINT pk_event_archives PRIMARY KEY (account, region, name),
	CONSTRAINT uq_event_archives_id UNIQUE (id)
);
CREATE TABLE event_buses (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name VARCHAR(256) NOT NULL,
	description TEXT,
	dead_letter TEXT,
	policy TEXT,
	policy_ids TEXT NOT NULL,
	tags TEXT NOT NULL,
	created BIGINT NOT NULL,
	changed BIGINT NOT NULL,
	CONSTRAINT pk_event_buses PRIMARY KEY (account, region, name)
);
CREATE TABLE event_causes (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	subject VARCHAR(600) NOT NULL,
	hops INTEGER NOT NULL,
	at BIGINT NOT NULL,
	CONSTRAINT pk_event_causes PRIMARY KEY (account, region, subject)
);
CREATE INDEX ix_event_causes_at ON event_causes (at);
CREATE TABLE event_connections (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name VARCHAR(64) NOT NULL,
	id VARCHAR(36) NOT NULL,
	description TEXT,
	kind VARCHAR(32) NOT NULL,
	state VARCHAR(32) NOT NULL,
	reason TEXT,
	public TEXT NOT NULL,
	secret BLOB,
	token BLOB,
	token_until BIGINT,
	stamp VARCHAR(36) NOT NULL,
	created BIGINT NOT NULL,
	changed BIGINT NOT NULL,
	authorized BIGINT,
	CONSTRAINT pk_event_connections PRIMARY KEY (account, region, name)
);
CREATE TABLE event_dead_letters (
	id VARCHAR(36) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	at BIGINT NOT NULL,
	bus VARCHAR(256) NOT NULL,
	rule VARCHAR(64) NOT NULL,
	target VARCHAR(64) NOT NULL,
	arn TEXT NOT NULL,
	queue TEXT,
	event VARCHAR(36) NOT NULL,
	body TEXT NOT NULL,
	code VARCHAR(64) NOT NULL,
	message TEXT NOT NULL,
	exhausted VARCHAR(64),
	attempts INTEGER NOT NULL,
	hops INTEGER NOT NULL,
	schedule TEXT,
	CONSTRAINT pk_event_dead_letters PRIMARY KEY (id)
);
CREATE INDEX ix_event_dead_letters_at ON event_dead_letters (at);
CREATE INDEX ix_event_dead_letters_place ON event_dead_letters (account, region, at, id);
CREATE TABLE event_deliveries (
	id VARCHAR(36) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	bus VARCHAR(256) NOT NULL,
	rule VARCHAR(64) NOT NULL,
	target VARCHAR(64) NOT NULL,
	ordering VARCHAR(64) NOT NULL,
	event VARCHAR(36) NOT NULL,
	state VARCHAR(10) NOT NULL,
	attempts INTEGER NOT NULL,
	hops INTEGER NOT NULL,
	since BIGINT NOT NULL,
	CONSTRAINT pk_event_deliveries PRIMARY KEY (id)
);
CREATE INDEX ix_event_deliveries_event ON event_deliveries (event);
CREATE INDEX ix_event_deliveries_ordering ON event_deliveries (ordering, id);
CREATE TABLE event_envelopes (
	id VARCHAR(36) NOT NULL,
	at BIGINT NOT NULL,
	body TEXT NOT NULL,
	CONSTRAINT pk_event_envelopes PRIMARY KEY (id)
);
CREATE INDEX ix_event_envelopes_at ON event_envelopes (at);
CREATE TABLE event_places (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	version BIGINT NOT NULL,
	CONSTRAINT pk_event_places PRIMARY KEY (account, region)
);
CREATE TABLE event_replays (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name VARCHAR(64) NOT NULL,
	id VARCHAR(36) NOT NULL,
	description TEXT,
	archive VARCHAR(36) NOT NULL,
	source TEXT NOT NULL,
	bus VARCHAR(256) NOT NULL,
	destination TEXT NOT NULL,
	state VARCHAR(16) NOT NULL,
	reason TEXT,
	since BIGINT NOT NULL,
	until BIGINT NOT NULL,
	seen_first BIGINT,
	seen_id VARCHAR(36),
	replayed BIGINT,
	started BIGINT NOT NULL,
	ended BIGINT,
	CONSTRAINT pk_event_replays PRIMARY KEY (account, region, name)
);
CREATE INDEX ix_event_replays_archive ON event_replays (archive, state);
CREATE INDEX ix_event_replays_ended ON event_replays (ended);
CREATE TABLE event_rules (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	bus VARCHAR(256) NOT NULL,
	name VARCHAR(64) NOT NULL,
	description TEXT,
	pattern TEXT,
	schedule TEXT,
	state VARCHAR(64) NOT NULL,
	role TEXT,
	created_by VARCHAR(12) NOT NULL,
	tags TEXT NOT NULL,
	stamp VARCHAR(36) NOT NULL,
	next BIGINT,
	CONSTRAINT pk_event_rules PRIMARY KEY (account, region, bus, name)
);
CREATE TABLE event_sequences (
	aggregate VARCHAR(512) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	sequence BIGINT NOT NULL,
	at BIGINT NOT NULL,
	CONSTRAINT pk_event_sequences PRIMARY KEY (aggregate, account, region)
);
CREATE TABLE event_targets (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	bus VARCHAR(256) NOT NULL,
	rule VARCHAR(64) NOT NULL,
	id VARCHAR(64) NOT NULL,
	arn TEXT NOT NULL,
	content TEXT NOT NULL,
	CONSTRAINT pk_event_targets PRIMARY KEY (account, region, bus, rule, id)
);
CREATE TABLE events (
	position INTEGER NOT NULL,
	id BLOB NOT NULL,
	sequence BIGINT NOT NULL,
	at BIGINT NOT NULL,
	content BLOB NOT NULL,
	CONSTRAINT pk_events PRIMARY KEY (position)
);
CREATE INDEX ix_events_at ON events (at);
CREATE TABLE former_aggregates (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name VARCHAR(512) NOT NULL,
	aggregate VARCHAR(512) NOT NULL,
	about VARCHAR(512) NOT NULL,
	arn VARCHAR(2048) NOT NULL,
	at BIGINT NOT NULL,
	CONSTRAINT pk_former_aggregates PRIMARY KEY (account, region, name, aggregate)
);
CREATE INDEX ix_former_aggregates_at ON former_aggregates (at);
CREATE TABLE iam_access_keys (
	id VARCHAR(32) NOT NULL,
	account VARCHAR(12) NOT NULL,
	user_id VARCHAR(32) NOT NULL,
	status VARCHAR(10) NOT NULL,
	secret BLOB NOT NULL,
	created BIGINT NOT NULL,
	used BIGINT,
	used_service VARCHAR(64),
	used_region VARCHAR(32),
	CONSTRAINT pk_iam_access_keys PRIMARY KEY (id)
);
CREATE INDEX ix_iam_access_keys_user_id ON iam_access_keys (user_id);
CREATE TABLE iam_account_requests (
	id VARCHAR(36) NOT NULL,
	name VARCHAR(50) NOT NULL,
	at BIGINT NOT NULL,
	account VARCHAR(12),
	failure VARCHAR(32),
	CONSTRAINT pk_iam_account_requests PRIMARY KEY (id)
);
CREATE TABLE iam_accounts (
	account VARCHAR(12) NOT NULL,
	administrator_key VARCHAR(32) NOT NULL,
	created BIGINT NOT NULL,
	alias VARCHAR(63),
	name VARCHAR(50),
	email VARCHAR(64),
	CONSTRAINT pk_iam_accounts PRIMARY KEY (account),
	CONSTRAINT uq_iam_accounts_alias UNIQUE (alias)
);
CREATE TABLE iam_attachments (
	owner VARCHAR(32) NOT NULL,
	arn VARCHAR(1024) NOT NULL,
	account VARCHAR(12) NOT NULL,
	CONSTRAINT pk_iam_attachments PRIMARY KEY (owner, arn)
);
CREATE INDEX ix_iam_attachments_arn ON iam_attachments (account, arn);
CREATE TABLE iam_console_sessions (
	id VARCHAR(64) NOT NULL,
	account VARCHAR(12) NOT NULL,
	user_id VARCHAR(32) NOT NULL,
	changed BIGINT NOT NULL,
	until BIGINT NOT NULL,
	begun BIGINT DEFAULT '0' NOT NULL,
	seen BIGINT DEFAULT '0' NOT NULL,
	address VARCHAR(64) DEFAULT '' NOT NULL,
	agent VARCHAR(256) DEFAULT '' NOT NULL,
	mfa BIGINT DEFAULT '0' NOT NULL,
	person VARCHAR(64) DEFAULT '' NOT NULL,
	name VARCHAR(64) DEFAULT '' NOT NULL,
	access_key VARCHAR(32) DEFAULT '' NOT NULL,
	token TEXT DEFAULT '' NOT NULL,
	CONSTRAINT pk_iam_console_sessions PRIMARY KEY (id)
);
CREATE INDEX ix_iam_console_sessions_person ON iam_console_sessions (person);
CREATE INDEX ix_iam_console_sessions_until ON iam_console_sessions (until);
CREATE INDEX ix_iam_console_sessions_user_id ON iam_console_sessions (user_id);
CREATE TABLE iam_credential_reports (
	account VARCHAR(12) NOT NULL,
	at BIGINT NOT NULL,
	content BLOB NOT NULL,
	CONSTRAINT pk_iam_credential_reports PRIMARY KEY (account)
);
CREATE TABLE iam_former_passwords (
	user_id VARCHAR(32) NOT NULL,
	password VARCHAR(128) NOT NULL,
	at BIGINT NOT NULL,
	CONSTRAINT pk_iam_former_passwords PRIMARY KEY (user_id, password)
);
CREATE TABLE iam_generations (
	id INTEGER NOT NULL,
	generation BIGINT NOT NULL,
	CONSTRAINT pk_iam_generations PRIMARY KEY (id)
);
CREATE TABLE iam_groups (
	id VARCHAR(32) NOT NULL,
	account VARCHAR(12) NOT NULL,
	"key" VARCHAR(128) NOT NULL,
	name VARCHAR(128) NOT NULL,
	path VARCHAR(512) NOT NULL,
	arn VARCHAR(1024) NOT NULL,
	created BIGINT NOT NULL,
	CONSTRAINT pk_iam_groups PRIMARY KEY (id),
	CONSTRAINT uq_iam_groups_account_key UNIQUE (account, "key")
);
CREATE TABLE iam_inline_policies (
	owner VARCHAR(32) NOT NULL,
	name VARCHAR(128) NOT NULL,
	account VARCHAR(12) NOT NULL,
	document TEXT NOT NULL,
	CONSTRAINT pk_iam_inline_policies PRIMARY KEY (owner, name)
);
CREATE TABLE iam_instance_profiles (
	id VARCHAR(32) NOT NULL,
	account VARCHAR(12) NOT NULL,
	"key" VARCHAR(128) NOT NULL,
	name VARCHAR(128) NOT NULL,
	path VARCHAR(512) NOT NULL,
	arn VARCHAR(1024) NOT NULL,
	role VARCHAR(32),
	tags TEXT NOT NULL,
	created BIGINT NOT NULL,
	CONSTRAINT pk_iam_instance_profiles PRIMARY KEY (id),
	CONSTRAINT uq_iam_instance_profiles_account_key UNIQUE (account, "key")
);
CREATE INDEX ix_iam_instance_profiles_role ON iam_instance_profiles (role);
CREATE TABLE iam_login_profiles (
	user_id VARCHAR(32) NOT NULL,
	account VARCHAR(12) NOT NULL,
	password BLOB NOT NULL,
	created BIGINT NOT NULL,
	changed BIGINT NOT NULL,
	used BIGINT,
	CONSTRAINT pk_iam_login_profiles PRIMARY KEY (user_id)
);
CREATE TABLE iam_members (
	user VARCHAR(32) NOT NULL,
	"group" VARCHAR(32) NOT NULL,
	account VARCHAR(12) NOT NULL,
	CONSTRAINT pk_iam_members PRIMARY KEY (user, "group")
);
CREATE INDEX ix_iam_members_group ON iam_members ("group");
CREATE TABLE iam_mfa_devices (
	arn VARCHAR(256) NOT NULL,
	account VARCHAR(12) NOT NULL,
	name VARCHAR(256) NOT NULL,
	seed BLOB NOT NULL,
	tags TEXT NOT NULL,
	created BIGINT NOT NULL,
	user_id VARCHAR(32),
	enabled BIGINT,
	drift BIGINT NOT NULL,
	used BIGINT NOT NULL,
	CONSTRAINT pk_iam_mfa_devices PRIMARY KEY (arn)
);
CREATE INDEX ix_iam_mfa_devices_account ON iam_mfa_devices (account);
CREATE INDEX ix_iam_mfa_devices_user_id ON iam_mfa_devices (user_id);
CREATE TABLE iam_oidc_providers (
	arn VARCHAR(512) NOT NULL,
	account VARCHAR(12) NOT NULL,
	url VARCHAR(255) NOT NULL,
	clients TEXT NOT NULL,
	thumbprints TEXT NOT NULL,
	tags TEXT NOT NULL,
	created BIGINT NOT NULL,
	CONSTRAINT pk_iam_oidc_providers PRIMARY KEY (arn)
);
CREATE INDEX ix_iam_oidc_providers_account ON iam_oidc_providers (account);
CREATE TABLE iam_passkeys (
	id VARCHAR(64) NOT NULL,
	credential BLOB NOT NULL,
	account VARCHAR(12) NOT NULL,
	user_id VARCHAR(32) NOT NULL,
	name VARCHAR(64) NOT NULL,
	public_key BLOB NOT NULL,
	party VARCHAR(253) NOT NULL,
	count BIGINT NOT NULL,
	synced BOOLEAN NOT NULL,
	transports TEXT NOT NULL,
	created BIGINT NOT NULL,
	used BIGINT,
	suspected BIGINT,
	CONSTRAINT pk_iam_passkeys PRIMARY KEY (id)
);
CREATE INDEX ix_iam_passkeys_account ON iam_passkeys (account);
CREATE INDEX ix_iam_passkeys_user_id ON iam_passkeys (user_id);
CREATE TABLE iam_password_policies (
	account VARCHAR(12) NOT NULL,
	rules TEXT NOT NULL,
	CONSTRAINT pk_iam_password_policies PRIMARY KEY (account)
);
CREATE TABLE iam_policies (
	id VARCHAR(32) NOT NULL,
	account VARCHAR(12) NOT NULL,
	"key" VARCHAR(128) NOT NULL,
	name VARCHAR(128) NOT NULL,
	path VARCHAR(512) NOT NULL,
	arn VARCHAR(1024) NOT NULL,
	description TEXT,
	tags TEXT NOT NULL,
	default_version INTEGER NOT NULL,
	last_version INTEGER NOT NULL,
	created BIGINT NOT NULL,
	updated BIGINT NOT NULL,
	CONSTRAINT pk_iam_policies PRIMARY KEY (id),
	CONSTRAINT uq_iam_policies_account_key UNIQUE (account, "key"),
	CONSTRAINT uq_iam_policies_arn UNIQUE (arn)
);
CREATE TABLE iam_policy_versions (
	policy VARCHAR(32) NOT NULL,
	version INTEGER NOT NULL,
	document TEXT NOT NULL,
	created BIGINT NOT NULL,
	CONSTRAINT pk_iam_policy_versions PRIMARY KEY (policy, version)
);
CREATE TABLE iam_recovery_codes (
	id VARCHAR(64) NOT NULL,
	account VARCHAR(12) NOT NULL,
	user_id VARCHAR(32) NOT NULL,
	CONSTRAINT pk_iam_recovery_codes PRIMARY KEY (id)
);
CREATE INDEX ix_iam_recovery_codes_user_id ON iam_recovery_codes (user_id);
CREATE TABLE iam_reserved_sessions (
	account VARCHAR(12) NOT NULL,
	role VARCHAR(64) NOT NULL,
	name VARCHAR(64) NOT NULL,
	"by" VARCHAR(256) NOT NULL,
	since BIGINT NOT NULL,
	CONSTRAINT pk_iam_reserved_sessions PRIMARY KEY (account, role, name)
);
CREATE TABLE iam_role_deletions (
	id VARCHAR(36) NOT NULL,
	account VARCHAR(12) NOT NULL,
	task VARCHAR(1000) NOT NULL,
	at BIGINT NOT NULL,
	reason TEXT,
	uses TEXT NOT NULL,
	CONSTRAINT pk_iam_role_deletions PRIMARY KEY (id)
);
CREATE TABLE iam_roles (
	id VARCHAR(32) NOT NULL,
	account VARCHAR(12) NOT NULL,
	"key" VARCHAR(64) NOT NULL,
	name VARCHAR(64) NOT NULL,
	path VARCHAR(512) NOT NULL,
	arn VARCHAR(1024) NOT NULL,
	trust TEXT NOT NULL,
	trusted TEXT NOT NULL,
	description TEXT,
	max_session INTEGER NOT NULL,
	tags TEXT NOT NULL,
	created BIGINT NOT NULL,
	boundary VARCHAR(1024),
	used BIGINT,
	used_region VARCHAR(32),
	CONSTRAINT pk_iam_roles PRIMARY KEY (id),
	CONSTRAINT uq_iam_roles_account_key UNIQUE (account, "key")
);
CREATE TABLE iam_service_credentials (
	id VARCHAR(32) NOT NULL,
	account VARCHAR(12) NOT NULL,
	user_id VARCHAR(32) NOT NULL,
	service VARCHAR(64) NOT NULL,
	name VARCHAR(200) NOT NULL,
	digest VARCHAR(64) NOT NULL,
	status VARCHAR(10) NOT NULL,
	created BIGINT NOT NULL,
	CONSTRAINT pk_iam_service_credentials PRIMARY KEY (id),
	CONSTRAINT uq_iam_service_credentials_name UNIQUE (name)
);
CREATE INDEX ix_iam_service_credentials_user_id ON iam_service_credentials (user_id);
CREATE TABLE iam_sign_in_tries (
	id VARCHAR(64) NOT NULL,
	count INTEGER NOT NULL,
	until BIGINT NOT NULL,
	paused BIGINT DEFAULT '0' NOT NULL,
	CONSTRAINT pk_iam_sign_in_tries PRIMARY KEY (id)
);
CREATE INDEX ix_iam_sign_in_tries_until ON iam_sign_in_tries (until);
CREATE TABLE iam_spent_challenges (
	id VARCHAR(64) NOT NULL,
	until BIGINT NOT NULL,
	CONSTRAINT pk_iam_spent_challenges PRIMARY KEY (id)
);
CREATE INDEX ix_iam_spent_challenges_until ON iam_spent_challenges (until);
CREATE TABLE iam_users (
	id VARCHAR(32) NOT NULL,
	account VARCHAR(12) NOT NULL,
	"key" VARCHAR(64) NOT NULL,
	name VARCHAR(64) NOT NULL,
	path VARCHAR(512) NOT NULL,
	arn VARCHAR(1024) NOT NULL,
	tags TEXT NOT NULL,
	created BIGINT NOT NULL,
	boundary VARCHAR(1024),
	CONSTRAINT pk_iam_users PRIMARY KEY (id),
	CONSTRAINT uq_iam_users_account_key UNIQUE (account, "key")
);
CREATE TABLE jobs (
	id VARCHAR(64) NOT NULL,
	kind VARCHAR(128) NOT NULL,
	topic VARCHAR(512) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	payload TEXT NOT NULL,
	state VARCHAR(10) NOT NULL,
	attempt INTEGER NOT NULL,
	failures INTEGER NOT NULL,
	fence VARCHAR(80),
	due BIGINT NOT NULL,
	until BIGINT,
	dedup VARCHAR(512),
	error TEXT,
	created BIGINT NOT NULL,
	ended BIGINT,
	CONSTRAINT pk_jobs PRIMARY KEY (id)
);
CREATE INDEX ix_jobs_ended ON jobs (state, ended) WHERE ended IS NOT NULL;
CREATE INDEX ix_jobs_held ON jobs (until) WHERE state IN ('offered', 'leased');
CREATE INDEX ix_jobs_ready ON jobs (due, id) WHERE state = 'ready' AND topic = '';
CREATE INDEX ix_jobs_topic ON jobs (topic, kind, due) WHERE state IN ('ready', 'offered') AND topic != '';
CREATE UNIQUE INDEX uq_jobs_live_dedup ON jobs (kind, dedup) WHERE state IN ('ready', 'offered', 'leased') AND dedup IS NOT NULL;
CREATE TABLE journal (
	aggregate VARCHAR(512) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	sequence BIGINT NOT NULL,
	at BIGINT NOT NULL,
	seed BIGINT NOT NULL,
	input TEXT NOT NULL,
	effects TEXT NOT NULL,
	actor TEXT NOT NULL,
	cause TEXT NOT NULL,
	CONSTRAINT pk_journal PRIMARY KEY (aggregate, account, region, sequence)
);
CREATE INDEX ix_journal_at ON journal (at);
CREATE TABLE kms_aliases (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name VARCHAR(256) NOT NULL,
	"key" VARCHAR(36) NOT NULL,
	created BIGINT NOT NULL,
	updated BIGINT NOT NULL,
	CONSTRAINT pk_kms_aliases PRIMARY KEY (account, region, name)
);
CREATE INDEX ix_kms_aliases_key ON kms_aliases ("key");
CREATE TABLE kms_grants (
	"key" VARCHAR(36) NOT NULL,
	id VARCHAR(64) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	arn VARCHAR(256) NOT NULL,
	name VARCHAR(256) NOT NULL,
	grantee VARCHAR(256) NOT NULL,
	retiring VARCHAR(256) NOT NULL,
	ids TEXT NOT NULL,
	operations TEXT NOT NULL,
	constraints TEXT NOT NULL,
	created BIGINT NOT NULL,
	CONSTRAINT pk_kms_grants PRIMARY KEY ("key", id)
);
CREATE INDEX ix_kms_grants_grantee ON kms_grants ("key", grantee);
CREATE INDEX ix_kms_grants_retiring ON kms_grants (retiring, region, id);
CREATE TABLE kms_keys (
	id VARCHAR(36) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	arn VARCHAR(256) NOT NULL,
	state VARCHAR(20) NOT NULL,
	manager VARCHAR(32) NOT NULL,
	description TEXT NOT NULL,
	usage VARCHAR(32) NOT NULL,
	spec VARCHAR(32) NOT NULL,
	material INTEGER NOT NULL,
	tags TEXT NOT NULL,
	policy TEXT NOT NULL,
	policy_ids TEXT NOT NULL,
	created BIGINT NOT NULL,
	deletion BIGINT,
	rotation_days INTEGER,
	rotation_due BIGINT,
	CONSTRAINT pk_kms_keys PRIMARY KEY (id)
);
CREATE INDEX ix_kms_keys_place ON kms_keys (account, region, id);
CREATE TABLE kms_materials (
	"key" VARCHAR(36) NOT NULL,
	number INTEGER NOT NULL,
	id VARCHAR(64) NOT NULL,
	account VARCHAR(12) NOT NULL,
	sealed BLOB NOT NULL,
	created BIGINT NOT NULL,
	rotation VARCHAR(16),
	CONSTRAINT pk_kms_materials PRIMARY KEY ("key", number)
);
CREATE TABLE log_data_keys (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	"group" VARCHAR(512) NOT NULL,
	id VARCHAR(32) NOT NULL,
	ciphertext BLOB NOT NULL,
	created BIGINT NOT NULL,
	CONSTRAINT pk_log_data_keys PRIMARY KEY (account, region, "group", id)
);
CREATE TABLE log_groups (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name VARCHAR(512) NOT NULL,
	created BIGINT NOT NULL,
	retention INTEGER,
	group_class VARCHAR(32) NOT NULL,
	protected BOOLEAN NOT NULL,
	tags TEXT NOT NULL,
	"key" VARCHAR(256),
	data_key VARCHAR(32),
	CONSTRAINT pk_log_groups PRIMARY KEY (account, region, name)
);
CREATE TABLE log_metric_filters (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	"group" VARCHAR(512) NOT NULL,
	name VARCHAR(512) NOT NULL,
	pattern VARCHAR(1024) NOT NULL,
	transformation TEXT NOT NULL,
	namespace VARCHAR(255) NOT NULL,
	metric VARCHAR(255) NOT NULL,
	created BIGINT NOT NULL,
	CONSTRAINT pk_log_metric_filters PRIMARY KEY (account, region, "group", name)
);
CREATE TABLE log_queries (
	id VARCHAR(36) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	"query" TEXT NOT NULL,
	groups TEXT NOT NULL,
	"begin" BIGINT NOT NULL,
	"end" BIGINT NOT NULL,
	"limit" INTEGER NOT NULL,
	caller VARCHAR(2048) NOT NULL,
	status VARCHAR(16) NOT NULL,
	created BIGINT NOT NULL,
	started BIGINT,
	ended BIGINT,
	statistics TEXT NOT NULL,
	parts INTEGER NOT NULL,
	reason TEXT,
	CONSTRAINT pk_log_queries PRIMARY KEY (id)
);
CREATE INDEX ix_log_queries_account ON log_queries (account, region, created, id);
CREATE INDEX ix_log_queries_created ON log_queries (created);
CREATE TABLE log_query_definitions (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	id VARCHAR(36) NOT NULL,
	name VARCHAR(255) NOT NULL,
	"query" TEXT NOT NULL,
	language VARCHAR(8) NOT NULL,
	groups TEXT NOT NULL,
	parameters TEXT NOT NULL,
	modified BIGINT NOT NULL,
	token VARCHAR(128),
	CONSTRAINT pk_log_query_definitions PRIMARY KEY (account, region, id)
);
CREATE TABLE log_query_results (
	"query" VARCHAR(36) NOT NULL,
	part INTEGER NOT NULL,
	first INTEGER NOT NULL,
	rows INTEGER NOT NULL,
	content BLOB NOT NULL,
	CONSTRAINT pk_log_query_results PRIMARY KEY ("query", part)
);
CREATE TABLE log_resource_policies (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name VARCHAR(256) NOT NULL,
	document TEXT NOT NULL,
	ids TEXT NOT NULL,
	changed BIGINT NOT NULL,
	CONSTRAINT pk_log_resource_policies PRIMARY KEY (account, region, name)
);
CREATE TABLE log_segments (
	file VARCHAR(36) NOT NULL,
	"offset" BIGINT NOT NULL,
	"end" BIGINT NOT NULL,
	highest BIGINT NOT NULL,
	blob VARCHAR(32) NOT NULL,
	"key" BLOB NOT NULL,
	size BIGINT NOT NULL,
	kept BIGINT,
	dropped BIGINT,
	CONSTRAINT pk_log_segments PRIMARY KEY (file, "offset")
);
CREATE TABLE log_streams (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	"group" VARCHAR(512) NOT NULL,
	name VARCHAR(512) NOT NULL,
	file VARCHAR(36) NOT NULL,
	created BIGINT NOT NULL,
	first_event BIGINT,
	last_event BIGINT,
	last_ingestion BIGINT,
	size BIGINT NOT NULL,
	measured BIGINT,
	packed BIGINT,
	CONSTRAINT pk_log_streams PRIMARY KEY (account, region, "group", name),
	CONSTRAINT uq_log_streams_file UNIQUE (file)
);
CREATE TABLE log_subscription_filters (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	"group" VARCHAR(512) NOT NULL,
	name VARCHAR(512) NOT NULL,
	id VARCHAR(36) NOT NULL,
	pattern VARCHAR(1024) NOT NULL,
	destination VARCHAR(2048) NOT NULL,
	role VARCHAR(2048),
	distribution VARCHAR(16) NOT NULL,
	created BIGINT NOT NULL,
	behind BIGINT,
	failing BIGINT,
	failures INTEGER NOT NULL,
	CONSTRAINT pk_log_subscription_filters PRIMARY KEY (account, region, "group", name),
	CONSTRAINT uq_log_subscription_filters_id UNIQUE (id)
);
CREATE TABLE log_subscriptions_sent (
	filter VARCHAR(36) NOT NULL,
	file VARCHAR(36) NOT NULL,
	"end" BIGINT NOT NULL,
	CONSTRAINT pk_log_subscriptions_sent PRIMARY KEY (filter, file)
);
CREATE INDEX ix_log_subscriptions_sent_file ON log_subscriptions_sent (file);
CREATE TABLE master_key_holders (
	id VARCHAR(32) NOT NULL,
	host VARCHAR(255) NOT NULL,
	pid INTEGER NOT NULL,
	seals VARCHAR(8) NOT NULL,
	opens TEXT NOT NULL,
	seen BIGINT NOT NULL,
	CONSTRAINT pk_master_key_holders PRIMARY KEY (id)
);
CREATE TABLE metric_sources (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name VARCHAR(64) NOT NULL,
	kind VARCHAR(16) NOT NULL,
	settings TEXT NOT NULL,
	credentials BLOB NOT NULL,
	created BIGINT NOT NULL,
	updated BIGINT NOT NULL,
	progress TEXT NOT NULL,
	read_at BIGINT,
	good_at BIGINT,
	failures INTEGER NOT NULL,
	error TEXT NOT NULL,
	CONSTRAINT pk_metric_sources PRIMARY KEY (account, region, name)
);
CREATE TABLE notification_rules (
	id VARCHAR(40) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name VARCHAR(64) NOT NULL,
	resource TEXT NOT NULL,
	event_types TEXT NOT NULL,
	detail VARCHAR(8) NOT NULL,
	status VARCHAR(16) NOT NULL,
	created_by TEXT NOT NULL,
	created BIGINT NOT NULL,
	changed BIGINT NOT NULL,
	tags TEXT NOT NULL,
	CONSTRAINT pk_notification_rules PRIMARY KEY (id),
	CONSTRAINT uq_notification_rules_account_region_name UNIQUE (account, region, name)
);
CREATE INDEX ix_notification_rules_resource ON notification_rules (account, region, resource);
CREATE TABLE notification_subscriptions (
	rule VARCHAR(40) NOT NULL,
	address VARCHAR(320) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	position INTEGER NOT NULL,
	CONSTRAINT pk_notification_subscriptions PRIMARY KEY (rule, address)
);
CREATE INDEX ix_notification_subscriptions_address ON notification_subscriptions (account, region, address);
CREATE TABLE notification_targets (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	address VARCHAR(320) NOT NULL,
	type VARCHAR(32) NOT NULL,
	status VARCHAR(16) NOT NULL,
	CONSTRAINT pk_notification_targets PRIMARY KEY (account, region, address)
);
CREATE TABLE notification_tokens (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	token VARCHAR(64) NOT NULL,
	request VARCHAR(64) NOT NULL,
	rule VARCHAR(40) NOT NULL,
	until BIGINT NOT NULL,
	CONSTRAINT pk_notification_tokens PRIMARY KEY (account, region, token)
);
CREATE INDEX ix_notification_tokens_until ON notification_tokens (until);
CREATE TABLE pipeline_action_clients (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	category VARCHAR(16) NOT NULL,
	owner VARCHAR(16) NOT NULL,
	provider VARCHAR(35) NOT NULL,
	version VARCHAR(9) NOT NULL,
	id VARCHAR(36) NOT NULL,
	token BLOB NOT NULL,
	created BIGINT NOT NULL,
	CONSTRAINT pk_pipeline_action_clients PRIMARY KEY (account, region, category, owner, provider, version),
	CONSTRAINT uq_pipeline_action_clients_id UNIQUE (id)
);
CREATE TABLE pipeline_action_executions (
	id VARCHAR(36) NOT NULL,
	pipeline_id VARCHAR(36) NOT NULL,
	execution_id VARCHAR(36) NOT NULL,
	ordinal BIGINT NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	pipeline VARCHAR(100) NOT NULL,
	version INTEGER NOT NULL,
	stage VARCHAR(100) NOT NULL,
	action VARCHAR(100) NOT NULL,
	provider VARCHAR(64) NOT NULL,
	attempt INTEGER NOT NULL,
	status VARCHAR(16) NOT NULL,
	started BIGINT NOT NULL,
	updated BIGINT NOT NULL,
	updated_by VARCHAR(2048),
	token VARCHAR(36),
	external_id VARCHAR(1500),
	external_url TEXT,
	summary TEXT,
	percent INTEGER,
	log_stream TEXT,
	error_code VARCHAR(64),
	error_message TEXT,
	role VARCHAR(1024),
	resolved TEXT,
	inputs TEXT,
	outputs TEXT,
	variables TEXT,
	revision TEXT,
	condition VARCHAR(16),
	CONSTRAINT pk_pipeline_action_executions PRIMARY KEY (id)
);
CREATE INDEX ix_pipeline_action_executions_account_region_external_id ON pipeline_action_executions (account, region, external_id);
CREATE INDEX ix_pipeline_action_executions_execution_id_ordinal ON pipeline_action_executions (execution_id, ordinal);
CREATE UNIQUE INDEX ix_pipeline_action_executions_pipeline_id_ordinal ON pipeline_action_executions (pipeline_id, ordinal);
CREATE INDEX ix_pipeline_action_executions_pipeline_id_token ON pipeline_action_executions (pipeline_id, token);
CREATE TABLE pipeline_action_types (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	category VARCHAR(16) NOT NULL,
	owner VARCHAR(16) NOT NULL,
	provider VARCHAR(35) NOT NULL,
	version VARCHAR(9) NOT NULL,
	definition TEXT NOT NULL,
	tags TEXT NOT NULL,
	created BIGINT NOT NULL,
	updated BIGINT NOT NULL,
	deleted BIGINT,
	CONSTRAINT pk_pipeline_action_types PRIMARY KEY (account, region, category, owner, provider, version)
);
CREATE INDEX ix_pipeline_action_types_region_owner_category_provider_version ON pipeline_action_types (region, owner, category, provider, version);
CREATE TABLE pipeline_executions (
	id VARCHAR(36) NOT NULL,
	pipeline_id VARCHAR(36) NOT NULL,
	number INTEGER NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	live BOOLEAN NOT NULL,
	started BIGINT NOT NULL,
	updated BIGINT NOT NULL,
	trigger_type VARCHAR(32) NOT NULL,
	trigger_detail VARCHAR(1024) NOT NULL,
	variables TEXT NOT NULL,
	overrides TEXT NOT NULL,
	succeeded TEXT NOT NULL,
	state TEXT NOT NULL,
	CONSTRAINT pk_pipeline_executions PRIMARY KEY (id)
);
CREATE INDEX ix_pipeline_executions_live_updated ON pipeline_executions (live, updated);
CREATE INDEX ix_pipeline_executions_pipeline_id_live ON pipeline_executions (pipeline_id, live);
CREATE UNIQUE INDEX ix_pipeline_executions_pipeline_id_number ON pipeline_executions (pipeline_id, number);
CREATE TABLE pipeline_put_revisions (
	pipeline_id VARCHAR(36) NOT NULL,
	action VARCHAR(100) NOT NULL,
	digest VARCHAR(64) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	execution_id VARCHAR(36) NOT NULL,
	put BIGINT NOT NULL,
	CONSTRAINT pk_pipeline_put_revisions PRIMARY KEY (pipeline_id, action, digest)
);
CREATE INDEX ix_pipeline_put_revisions_put ON pipeline_put_revisions (put);
CREATE TABLE pipeline_secrets (
	pipeline_id VARCHAR(36) NOT NULL,
	version INTEGER NOT NULL,
	stage VARCHAR(100) NOT NULL,
	action VARCHAR(100) NOT NULL,
	name VARCHAR(50) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	value BLOB NOT NULL,
	CONSTRAINT pk_pipeline_secrets PRIMARY KEY (pipeline_id, version, stage, action, name)
);
CREATE TABLE pipeline_sources (
	pipeline_id VARCHAR(36) NOT NULL,
	action VARCHAR(100) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name VARCHAR(100) NOT NULL,
	subject VARCHAR(1200) NOT NULL,
	CONSTRAINT pk_pipeline_sources PRIMARY KEY (pipeline_id, action)
);
CREATE INDEX ix_pipeline_sources_account_region_subject ON pipeline_sources (account, region, subject);
CREATE TABLE pipeline_start_tokens (
	pipeline_id VARCHAR(36) NOT NULL,
	token VARCHAR(200) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	execution_id VARCHAR(36) NOT NULL,
	expires BIGINT NOT NULL,
	CONSTRAINT pk_pipeline_start_tokens PRIMARY KEY (pipeline_id, token)
);
CREATE INDEX ix_pipeline_start_tokens_expires ON pipeline_start_tokens (expires);
CREATE TABLE pipeline_versions (
	pipeline_id VARCHAR(36) NOT NULL,
	version INTEGER NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	created BIGINT NOT NULL,
	declaration TEXT NOT NULL,
	"plan" TEXT NOT NULL,
	CONSTRAINT pk_pipeline_versions PRIMARY KEY (pipeline_id, version)
);
CREATE TABLE pipeline_webhooks (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name VARCHAR(100) NOT NULL,
	id VARCHAR(36) NOT NULL,
	address BLOB NOT NULL,
	pipeline VARCHAR(100) NOT NULL,
	action VARCHAR(100) NOT NULL,
	filters TEXT NOT NULL,
	authentication VARCHAR(16) NOT NULL,
	allowed VARCHAR(100) NOT NULL,
	secret BLOB,
	tags TEXT NOT NULL,
	triggered BIGINT,
	error_code VARCHAR(64) NOT NULL,
	error_message VARCHAR(1000) NOT NULL,
	registered TEXT,
	CONSTRAINT pk_pipeline_webhooks PRIMARY KEY (account, region, name),
	CONSTRAINT uq_pipeline_webhooks_id UNIQUE (id)
);
CREATE TABLE pipelines (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name VARCHAR(100) NOT NULL,
	id VARCHAR(36) NOT NULL,
	version INTEGER NOT NULL,
	type VARCHAR(8) NOT NULL,
	mode VARCHAR(16) NOT NULL,
	created BIGINT NOT NULL,
	updated BIGINT NOT NULL,
	sequence INTEGER NOT NULL,
	state TEXT NOT NULL,
	latest TEXT NOT NULL,
	tags TEXT NOT NULL,
	CONSTRAINT pk_pipelines PRIMARY KEY (account, region, name),
	CONSTRAINT uq_pipelines_id UNIQUE (id)
);
CREATE TABLE repositories (
	id VARCHAR(36) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name VARCHAR(100) NOT NULL,
	description TEXT,
	default_branch TEXT,
	tags TEXT NOT NULL,
	created BIGINT NOT NULL,
	modified BIGINT NOT NULL,
	CONSTRAINT pk_repositories PRIMARY KEY (id),
	CONSTRAINT uq_repositories_account_region_name UNIQUE (account, region, name)
);
CREATE TABLE repository_intents (
	id VARCHAR(36) NOT NULL,
	repository VARCHAR(36) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	caller TEXT NOT NULL,
	at BIGINT NOT NULL,
	CONSTRAINT pk_repository_intents PRIMARY KEY (id)
);
CREATE INDEX ix_repository_intents_repository ON repository_intents (repository);
CREATE TABLE repository_references (
	repository VARCHAR(36) NOT NULL,
	name VARCHAR(512) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	object VARCHAR(40) NOT NULL,
	"commit" VARCHAR(40) NOT NULL,
	CONSTRAINT pk_repository_references PRIMARY KEY (repository, name)
);
CREATE TABLE s3_blobs (
	id VARCHAR(32) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	size BIGINT NOT NULL,
	created BIGINT NOT NULL,
	unreferenced BIGINT,
	removed BIGINT,
	CONSTRAINT pk_s3_blobs PRIMARY KEY (id)
);
CREATE INDEX ix_s3_blobs_unreferenced ON s3_blobs (unreferenced);
CREATE TABLE s3_buckets (
	name VARCHAR(63) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	created BIGINT NOT NULL,
	versioning VARCHAR(16) NOT NULL,
	settings TEXT NOT NULL,
	CONSTRAINT pk_s3_buckets PRIMARY KEY (name)
);
CREATE INDEX ix_s3_buckets_account_name ON s3_buckets (account, name);
CREATE TABLE s3_parts (
	content VARCHAR(64) NOT NULL,
	number INTEGER NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	blob VARCHAR(32) NOT NULL,
	start BIGINT NOT NULL,
	size BIGINT NOT NULL,
	etag VARCHAR(64) NOT NULL,
	modified BIGINT NOT NULL,
	checksum VARCHAR(128) NOT NULL,
	"key" BLOB NOT NULL,
	CONSTRAINT pk_s3_parts PRIMARY KEY (content, number)
);
CREATE INDEX ix_s3_parts_blob ON s3_parts (blob);
CREATE TABLE s3_uploads (
	id VARCHAR(64) NOT NULL,
	bucket VARCHAR(63) NOT NULL,
	"key" BLOB NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	initiated BIGINT NOT NULL,
	initiator VARCHAR(2048) NOT NULL,
	about TEXT NOT NULL,
	open BOOLEAN NOT NULL,
	completed BIGINT,
	outcome TEXT,
	CONSTRAINT pk_s3_uploads PRIMARY KEY (id)
);
CREATE INDEX ix_s3_uploads_bucket_open_key_id ON s3_uploads (bucket, open, "key", id);
CREATE INDEX ix_s3_uploads_completed ON s3_uploads (completed);
CREATE TABLE s3_versions (
	bucket VARCHAR(63) NOT NULL,
	"key" BLOB NOT NULL,
	rank BIGINT NOT NULL,
	version VARCHAR(64) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	latest BOOLEAN NOT NULL,
	live BOOLEAN NOT NULL,
	marker BOOLEAN NOT NULL,
	modified BIGINT NOT NULL,
	etag VARCHAR(64) NOT NULL,
	size BIGINT NOT NULL,
	content VARCHAR(64) NOT NULL,
	part_count INTEGER,
	about TEXT NOT NULL,
	CONSTRAINT pk_s3_versions PRIMARY KEY (bucket, "key", rank),
	CONSTRAINT uq_s3_versions_bucket_key_version UNIQUE (bucket, "key", version)
);
CREATE INDEX ix_s3_versions_bucket_live_key ON s3_versions (bucket, live, "key");
CREATE TABLE scheduler_groups (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name VARCHAR(64) NOT NULL,
	state VARCHAR(8) NOT NULL,
	tags TEXT NOT NULL,
	created BIGINT NOT NULL,
	changed BIGINT NOT NULL,
	CONSTRAINT pk_scheduler_groups PRIMARY KEY (account, region, name)
);
CREATE TABLE scheduler_invocations (
	id VARCHAR(36) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	"group" VARCHAR(64) NOT NULL,
	name VARCHAR(64) NOT NULL,
	state VARCHAR(8) NOT NULL,
	target TEXT NOT NULL,
	input BLOB NOT NULL,
	scheduled BIGINT NOT NULL,
	attempts INTEGER NOT NULL,
	at BIGINT NOT NULL,
	CONSTRAINT pk_scheduler_invocations PRIMARY KEY (id)
);
CREATE INDEX ix_scheduler_invocations_at ON scheduler_invocations (at);
CREATE TABLE scheduler_schedules (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	"group" VARCHAR(64) NOT NULL,
	name VARCHAR(64) NOT NULL,
	state VARCHAR(8) NOT NULL,
	content TEXT NOT NULL,
	input BLOB NOT NULL,
	since BIGINT NOT NULL,
	next BIGINT,
	created BIGINT NOT NULL,
	changed BIGINT NOT NULL,
	CONSTRAINT pk_scheduler_schedules PRIMARY KEY (account, region, "group", name)
);
CREATE TABLE scheduler_tokens (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	token VARCHAR(64) NOT NULL,
	digest VARCHAR(64) NOT NULL,
	at BIGINT NOT NULL,
	CONSTRAINT pk_scheduler_tokens PRIMARY KEY (account, region, token)
);
CREATE INDEX ix_scheduler_tokens_at ON scheduler_tokens (at);
CREATE TABLE secret_versions (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name VARCHAR(512) NOT NULL,
	id VARCHAR(64) NOT NULL,
	number INTEGER NOT NULL,
	created BIGINT NOT NULL,
	stages TEXT NOT NULL,
	"key" TEXT,
	binary BOOLEAN NOT NULL,
	value BLOB NOT NULL,
	CONSTRAINT pk_secret_versions PRIMARY KEY (account, region, name, id)
);
CREATE TABLE secrets (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name VARCHAR(512) NOT NULL,
	suffix VARCHAR(6) NOT NULL,
	token VARCHAR(64) NOT NULL,
	description TEXT,
	"key" TEXT,
	tags TEXT,
	policy TEXT,
	policy_ids TEXT NOT NULL,
	created BIGINT NOT NULL,
	changed BIGINT NOT NULL,
	accessed BIGINT NOT NULL,
	deletion BIGINT,
	rotation TEXT,
	rotation_failed BIGINT,
	CONSTRAINT pk_secrets PRIMARY KEY (account, region, name)
);
CREATE INDEX ix_secrets_accessed ON secrets (account, region, accessed, name);
CREATE INDEX ix_secrets_changed ON secrets (account, region, changed, name);
CREATE INDEX ix_secrets_created ON secrets (account, region, created, name);
CREATE TABLE sns_confirmations (
	subject VARCHAR(80) NOT NULL,
	day INTEGER NOT NULL,
	count INTEGER NOT NULL,
	CONSTRAINT pk_sns_confirmations PRIMARY KEY (subject, day)
);
CREATE TABLE sns_dead_letters (
	id VARCHAR(36) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	at BIGINT NOT NULL,
	topic VARCHAR(32) NOT NULL,
	arn TEXT NOT NULL,
	subscription VARCHAR(36) NOT NULL,
	protocol VARCHAR(16) NOT NULL,
	endpoint TEXT NOT NULL,
	queue TEXT,
	sequence BIGINT NOT NULL,
	message VARCHAR(36) NOT NULL,
	published BIGINT NOT NULL,
	lane VARCHAR(64) NOT NULL,
	content BLOB NOT NULL,
	code VARCHAR(64) NOT NULL,
	error TEXT NOT NULL,
	status INTEGER NOT NULL,
	attempts INTEGER NOT NULL,
	CONSTRAINT pk_sns_dead_letters PRIMARY KEY (id)
);
CREATE INDEX ix_sns_dead_letters_at ON sns_dead_letters (at);
CREATE INDEX ix_sns_dead_letters_place ON sns_dead_letters (account, region, at, id);
CREATE TABLE sns_deduplications (
	topic VARCHAR(32) NOT NULL,
	digest VARCHAR(64) NOT NULL,
	message VARCHAR(36) NOT NULL,
	sequence BIGINT NOT NULL,
	until BIGINT NOT NULL,
	CONSTRAINT pk_sns_deduplications PRIMARY KEY (topic, digest)
);
CREATE INDEX ix_sns_deduplications_until ON sns_deduplications (until);
CREATE TABLE sns_deliveries (
	subscription VARCHAR(36) NOT NULL,
	lane VARCHAR(64) NOT NULL,
	sequence BIGINT NOT NULL,
	topic VARCHAR(32) NOT NULL,
	tries INTEGER NOT NULL,
	CONSTRAINT pk_sns_deliveries PRIMARY KEY (subscription, lane, sequence)
);
CREATE INDEX ix_sns_deliveries_message ON sns_deliveries (topic, sequence);
CREATE TABLE sns_messages (
	topic VARCHAR(32) NOT NULL,
	sequence BIGINT NOT NULL,
	id VARCHAR(36) NOT NULL,
	at BIGINT NOT NULL,
	lane VARCHAR(64) NOT NULL,
	content BLOB NOT NULL,
	state VARCHAR(16) NOT NULL,
	"after" VARCHAR(36) NOT NULL,
	CONSTRAINT pk_sns_messages PRIMARY KEY (topic, sequence)
);
CREATE INDEX ix_sns_messages_waiting ON sns_messages (topic, sequence) WHERE state = 'waiting';
CREATE TABLE sns_signers (
	slot INTEGER NOT NULL,
	id VARCHAR(32) NOT NULL,
	certificate TEXT NOT NULL,
	"key" BLOB NOT NULL,
	CONSTRAINT pk_sns_signers PRIMARY KEY (slot)
);
CREATE TABLE sns_subscriptions (
	id VARCHAR(36) NOT NULL,
	topic VARCHAR(32) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name VARCHAR(256) NOT NULL,
	owner VARCHAR(12) NOT NULL,
	protocol VARCHAR(16) NOT NULL,
	endpoint TEXT NOT NULL,
	digest VARCHAR(64) NOT NULL,
	state VARCHAR(16) NOT NULL,
	authenticated BOOLEAN NOT NULL,
	principal TEXT NOT NULL,
	attributes TEXT NOT NULL,
	created BIGINT NOT NULL,
	until BIGINT,
	CONSTRAINT pk_sns_subscriptions PRIMARY KEY (id)
);
CREATE UNIQUE INDEX ix_sns_subscriptions_live ON sns_subscriptions (topic, digest) WHERE state != 'deleted';
CREATE INDEX ix_sns_subscriptions_owner ON sns_subscriptions (owner, region, id);
CREATE INDEX ix_sns_subscriptions_topic ON sns_subscriptions (topic, id);
CREATE INDEX ix_sns_subscriptions_until ON sns_subscriptions (until) WHERE until IS NOT NULL;
CREATE TABLE sns_topics (
	id VARCHAR(32) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name VARCHAR(256) NOT NULL,
	created BIGINT NOT NULL,
	attributes TEXT NOT NULL,
	tags TEXT NOT NULL,
	policy TEXT,
	policy_ids TEXT NOT NULL,
	sequence BIGINT NOT NULL,
	CONSTRAINT pk_sns_topics PRIMARY KEY (id),
	CONSTRAINT uq_sns_topics_account_region_name UNIQUE (account, region, name)
);
CREATE TABLE sns_webhook_secrets (
	subscription VARCHAR(36) NOT NULL,
	secret BLOB NOT NULL,
	CONSTRAINT pk_sns_webhook_secrets PRIMARY KEY (subscription)
);
CREATE TABLE ssm_parameter_versions (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	path VARCHAR(1011) NOT NULL,
	version INTEGER NOT NULL,
	type VARCHAR(16) NOT NULL,
	tier VARCHAR(16) NOT NULL,
	"key" VARCHAR(256) NOT NULL,
	description TEXT NOT NULL,
	pattern TEXT NOT NULL,
	modified BIGINT NOT NULL,
	"by" TEXT NOT NULL,
	value TEXT NOT NULL,
	labels TEXT NOT NULL,
	CONSTRAINT pk_ssm_parameter_versions PRIMARY KEY (account, region, path, version)
);
CREATE TABLE ssm_parameters (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	path VARCHAR(1011) NOT NULL,
	name VARCHAR(1012) NOT NULL,
	version INTEGER NOT NULL,
	type VARCHAR(16) NOT NULL,
	tier VARCHAR(16) NOT NULL,
	"key" VARCHAR(256) NOT NULL,
	description TEXT NOT NULL,
	pattern TEXT NOT NULL,
	modified BIGINT NOT NULL,
	"by" TEXT NOT NULL,
	tags TEXT NOT NULL,
	CONSTRAINT pk_ssm_parameters PRIMARY KEY (account, region, path)
);
CREATE TABLE subscriptions (
	name VARCHAR(128) NOT NULL,
	types TEXT NOT NULL,
	since BIGINT NOT NULL,
	CONSTRAINT pk_subscriptions PRIMARY KEY (name)
);
CREATE TABLE x509_host_authorities (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	anchor VARCHAR(36) NOT NULL,
	profile VARCHAR(36) NOT NULL,
	certificate TEXT NOT NULL,
	"key" BLOB NOT NULL,
	created BIGINT NOT NULL,
	rotated BIGINT,
	CONSTRAINT pk_x509_host_authorities PRIMARY KEY (account, region),
	CONSTRAINT uq_x509_host_authorities_anchor UNIQUE (anchor)
);
CREATE TABLE x509_hosts (
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name VARCHAR(64) NOT NULL,
	role VARCHAR(256) NOT NULL,
	invitation VARCHAR(36) NOT NULL,
	"key" VARCHAR(64) NOT NULL,
	joining VARCHAR(36) NOT NULL,
	serial VARCHAR(64) NOT NULL,
	expires BIGINT NOT NULL,
	created BIGINT NOT NULL,
	joined BIGINT NOT NULL,
	issuer VARCHAR(64),
	issued BIGINT,
	CONSTRAINT pk_x509_hosts PRIMARY KEY (account, region, name)
);
CREATE TABLE x509_profiles (
	id VARCHAR(36) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	arn VARCHAR(256) NOT NULL,
	name VARCHAR(255) NOT NULL,
	roles TEXT NOT NULL,
	policy TEXT NOT NULL,
	policy_arns TEXT NOT NULL,
	seconds INTEGER NOT NULL,
	named BOOLEAN NOT NULL,
	with_properties BOOLEAN NOT NULL,
	enabled BOOLEAN NOT NULL,
	created_by VARCHAR(2048) NOT NULL,
	tags TEXT NOT NULL,
	created BIGINT NOT NULL,
	updated BIGINT NOT NULL,
	mappings TEXT,
	CONSTRAINT pk_x509_profiles PRIMARY KEY (id)
);
CREATE INDEX ix_x509_profiles_place ON x509_profiles (account, region, id);
CREATE TABLE x509_revocation_lists (
	id VARCHAR(36) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	arn VARCHAR(256) NOT NULL,
	name VARCHAR(255) NOT NULL,
	anchor VARCHAR(36) NOT NULL,
	pem BLOB NOT NULL,
	enabled BOOLEAN NOT NULL,
	tags TEXT NOT NULL,
	created BIGINT NOT NULL,
	updated BIGINT NOT NULL,
	CONSTRAINT pk_x509_revocation_lists PRIMARY KEY (id)
);
CREATE INDEX ix_x509_revocation_lists_anchor ON x509_revocation_lists (anchor);
CREATE INDEX ix_x509_revocation_lists_place ON x509_revocation_lists (account, region, id);
CREATE TABLE x509_subjects (
	id VARCHAR(36) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	name TEXT NOT NULL,
	tags TEXT NOT NULL,
	created BIGINT NOT NULL,
	updated BIGINT NOT NULL,
	seen BIGINT NOT NULL,
	certificates TEXT NOT NULL,
	properties TEXT NOT NULL,
	CONSTRAINT pk_x509_subjects PRIMARY KEY (id)
);
CREATE INDEX ix_x509_subjects_place ON x509_subjects (account, region, id);
CREATE INDEX ix_x509_subjects_seen ON x509_subjects (account, region, seen);
CREATE TABLE x509_trust_anchors (
	id VARCHAR(36) NOT NULL,
	account VARCHAR(12) NOT NULL,
	region VARCHAR(32) NOT NULL,
	arn VARCHAR(256) NOT NULL,
	name VARCHAR(255) NOT NULL,
	bundle TEXT NOT NULL,
	enabled BOOLEAN NOT NULL,
	tags TEXT NOT NULL,
	created BIGINT NOT NULL,
	updated BIGINT NOT NULL,
	CONSTRAINT pk_x509_trust_anchors PRIMARY KEY (id)
);
CREATE INDEX ix_x509_trust_anchors_place ON x509_trust_anchors (account, region, id);
