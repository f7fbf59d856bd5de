//! Names of the HTTP headers that graygate reads and writes, in lower case.

/// Response and upstream request: the version that serves, or was tried last when all failed (by its
/// name in the router file).
pub const VERSION: &str = "x-version";
/// Response: `true` when stable answered, or was tried, after the canary failed.
pub const FALLBACK: &str = "x-fallback";
/// Response: how many attempts the request took.
pub const ATTEMPTS: &str = "x-attempts";
/// Request and response: the caller's id of the request, made up when absent.
pub const REQUEST_ID: &str = "x-request-id";
/// Request: the caller's tier, for routing rules.
pub const USER_TIER: &str = "x-user-tier";
/// Request: the caller's tenant, for routing rules.
pub const TENANT: &str = "x-tenant-id";
/// Response: `honoured` when an override chose the version, `refused` when stable serves instead.
pub const OVERRIDE: &str = "x-override";
/// Request: who is calling, for sticky assignment.
pub const USER_ID: &str = "x-user-id";
/// Request: the traffic's key of the request. Accepted only in a run of the harness.
pub const REQUEST_KEY: &str = "x-graygate-key";
/// Request: the version that the request is forced to, by its name. Accepted only in a run of the harness.
pub const FORCED: &str = "x-graygate-forced";
/// Upstream request: which attempt of the request it is, from 0. Sent only in a run of the harness,
/// so that an upstream's ledger and the gateway's orders can be matched.
pub const ATTEMPT: &str = "x-graygate-attempt";
/// Response: seconds to wait before the next try.
pub const RETRY_AFTER: &str = "retry-after";
/// Response: milliseconds to wait before the next try.
pub const RETRY_AFTER_MS: &str = "retry-after-ms";
