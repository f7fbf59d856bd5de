//! Who sends requests.

use crate::id::VersionId;

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
