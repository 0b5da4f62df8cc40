//! Which steps exist. Pure.

use std::fmt;

use crate::policy::terms::Membership;

/// What happens to a membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// It was measured for the first time.
    Check,
    /// An officer says yes.
    Approve,
    /// Its pilot begins.
    Pilot,
    /// It federates in full.
    Federate,
    /// An officer sets it aside.
    Suspend,
    /// An officer lets it go on where it stood.
    Resume,
    /// It begins to leave.
    Leave,
    /// Nothing of it is published any more.
    Finish,
}

impl Step {
    /// Every step.
    pub const ALL: [Step; 8] = [
        Step::Check,
        Step::Approve,
        Step::Pilot,
        Step::Federate,
        Step::Suspend,
        Step::Resume,
        Step::Leave,
        Step::Finish,
    ];

    /// The step as audit records and messages write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Step::Check => "check",
            Step::Approve => "approve",
            Step::Pilot => "pilot",
            Step::Federate => "federate",
            Step::Suspend => "suspend",
            Step::Resume => "resume",
            Step::Leave => "leave",
            Step::Finish => "finish",
        }
    }
}

/// A step that does not exist from where the membership stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSuchStep {
    pub step: Step,
    pub from: Membership,
}

impl fmt::Display for NoSuchStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.from;
        let next = match from {
            Membership::Requested => "measure it first: `portcullis member check`",
            Membership::Checked => "an officer must approve it first: `portcullis member approve`",
            Membership::Approved | Membership::Piloting => "go on with `portcullis member approve`",
            Membership::Federated => "it can be suspended, or leave",
            Membership::Suspended => "it can go on with `portcullis member resume`, or leave",
            Membership::Leaving => "it can only finish leaving: `portcullis member leave --finish`",
            Membership::Left => "it starts over with `portcullis member request`",
        };
        write!(f, "is {from}, from where there is no step `{}`; {next}", self.step.as_str())
    }
}

impl std::error::Error for NoSuchStep {}

/// Where `step` leads from `from`. `before_suspension` is the state that a suspended membership was suspended from; without
/// it a suspended membership cannot resume.
pub fn next(
    from: Membership,
    step: Step,
    before_suspension: Option<Membership>,
) -> Result<Membership, NoSuchStep> {
    use Membership as M;
    match (from, step) {
        (M::Requested, Step::Check) => Ok(M::Checked),
        (M::Checked, Step::Approve) => Ok(M::Approved),
        (M::Approved, Step::Pilot) => Ok(M::Piloting),
        (M::Piloting, Step::Federate) => Ok(M::Federated),
        (M::Approved | M::Piloting | M::Federated, Step::Suspend) => Ok(M::Suspended),
        (M::Suspended, Step::Resume) => match before_suspension {
            Some(state @ (M::Approved | M::Piloting | M::Federated)) => Ok(state),
            _ => Err(NoSuchStep { step, from }),
        },
        (
            M::Requested | M::Checked | M::Approved | M::Piloting | M::Federated | M::Suspended,
            Step::Leave,
        ) => Ok(M::Leaving),
        (M::Leaving, Step::Finish) => Ok(M::Left),
        _ => Err(NoSuchStep { step, from }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The states from which each state may be reached.
    fn reachable_from(state: Membership) -> &'static [Membership] {
        use Membership as M;
        match state {
            M::Requested => &[],
            M::Checked => &[M::Requested],
            M::Approved => &[M::Checked, M::Suspended],
            M::Piloting => &[M::Approved, M::Suspended],
            M::Federated => &[M::Piloting, M::Suspended],
            M::Suspended => &[M::Approved, M::Piloting, M::Federated],
            M::Leaving => &[M::Requested, M::Checked, M::Approved, M::Piloting, M::Federated, M::Suspended],
            M::Left => &[M::Leaving],
        }
    }

    proptest! {
        /// Whatever is tried in whatever order: no state is skipped, federating needs check, approval and pilot before it, and
        /// a resumed member stands where it stood.
        #[test]
        fn no_life_skips_a_state(tries in prop::collection::vec(prop::sample::select(&Step::ALL[..]), 0..60)) {
            let mut state = Membership::Requested;
            let mut lived = vec![state];
            let mut suspended_from = None;
            for step in tries {
                let Ok(to) = next(state, step, suspended_from) else { continue };
                prop_assert!(reachable_from(to).contains(&state), "{} -> {}", state, to);
                if step == Step::Suspend {
                    suspended_from = Some(state);
                }
                if step == Step::Resume {
                    prop_assert_eq!(Some(to), suspended_from);
                }
                if to.may_federate() {
                    for before in [Membership::Checked, Membership::Approved, Membership::Piloting] {
                        prop_assert!(lived.contains(&before) || to == before);
                    }
                }
                state = to;
                lived.push(state);
            }
            if state == Membership::Left {
                prop_assert!(Step::ALL.iter().all(|step| next(state, *step, suspended_from).is_err()));
            }
        }
    }

    #[test]
    fn a_refused_step_says_what_to_do_instead() {
        let refused = next(Membership::Requested, Step::Approve, None).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "is requested, from where there is no step `approve`; measure it first: `portcullis member check`"
        );
    }
}
