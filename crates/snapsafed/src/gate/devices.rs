//! The links of this network namespace, as the kernel lists them over rtnetlink.
//!
//! Numbers: `include/uapi/linux/rtnetlink.h` and `if_link.h`.

use rustix::io::Errno;

use super::netlink::{DUMP, Message, Parsed, Socket};

/// `RTM_GETLINK`, `struct ifinfomsg` (family, padding, u16 type, i32 index, …), `IFLA_IFNAME`.
const GET_LINK: u16 = 18;
const IFINFOMSG_BYTES: usize = 16;
const LINK_NAME: u16 = 3;

/// A link.
pub(super) struct Device(Message);

pub(super) fn list(kernel: &mut Socket) -> Result<Vec<Device>, Errno> {
    let listed = kernel.ask(GET_LINK, DUMP, &[0; IFINFOMSG_BYTES], |_| {})?;
    Ok(listed.into_iter().map(Device).collect())
}

/// The number of the link that a message is about; `struct tcmsg` has it where `ifinfomsg` has it.
pub(super) fn index_in(message: &Message) -> Option<i32> {
    let [_, _, _, _, index @ ..] = message.fixed::<8>()?;
    Some(i32::from_ne_bytes(index))
}

impl Device {
    pub(super) fn index(&self) -> Option<i32> {
        index_in(&self.0)
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.attributes().string(LINK_NAME)
    }

    pub(super) fn attributes(&self) -> Parsed<'_> {
        self.0.attributes(IFINFOMSG_BYTES)
    }
}
