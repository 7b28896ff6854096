//! Files whose names others choose or share: read with bounds, whatever lies there; and a folder that is ours alone.

pub(crate) mod folder;
pub(crate) mod obstacle;
pub(crate) mod read;
