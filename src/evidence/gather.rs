use super::*;
use crate::manager::*;
use crate::policy::Policy;
use crate::root::Root;
use crate::subject::*;
use crate::unit::*;
pub fn from_system(
    _u: &Unit,
    _p: &Policy,
    _s: &UnitStatus,
    _m: &dyn Manager,
    _o: &SubjectOptions,
) -> Result<Evidence, Failure> {
    todo!()
}
pub fn from_root(_r: &Root, _u: &Unit, _p: &Policy, _o: &SubjectOptions) -> Result<Evidence, Failure> {
    todo!()
}
pub fn add_named_log(_e: &mut Evidence, _u: &Unit, _p: &Policy, _o: &SubjectOptions) -> Result<(), Failure> {
    todo!()
}
pub fn last_lines(_: &UnitName, _: usize) -> Vec<Untrusted> {
    todo!()
}
