//! Who sends requests.

use crate::id::VersionId;
use crate::protocol::headers;

/// A caller, as far as a gateway can tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Sent as the tier header.
    pub tier: Option<String>,
    /// Sent as the user header.
    pub user: Option<String>,
    /// Sent as the tenant header.
    pub tenant: Option<String>,
}

impl Caller {
    /// The headers that callers say something of themselves in.
    pub const HEADERS: [&'static str; 3] = [headers::USER_ID, headers::TENANT, headers::USER_TIER];

    /// What it sends in a header of this name (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        match name {
            headers::USER_TIER => self.tier.as_deref(),
            headers::USER_ID => self.user.as_deref(),
            headers::TENANT => self.tenant.as_deref(),
            _ => None,
        }
    }
}

/// Where the configuration obliges a gateway to send a request, worked out by the harness and not
/// by the gateway under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Anywhere, by the weights.
    Random,
    /// Always to the same version, by the weights over callers. Holds the caller's number.
    Sticky(u32),
    /// To this version, by a rule.
    Pinned(VersionId),
    /// To this version, by force: whoever runs the gateway decided it for this very request.
    Forced(VersionId),
}

impl Intent {
    /// Does chance decide, so that the split may be judged by it?
    pub fn is_randomised(self) -> bool {
        self.named().is_none()
    }

    /// The one version that it must meet, when no chance decides.
    pub fn named(self) -> Option<VersionId> {
        match self {
            Self::Pinned(version) | Self::Forced(version) => Some(version),
            Self::Random | Self::Sticky(_) => None,
        }
    }
}
