//! Names of users. Those of `/etc/passwd`, for nothing may be asked of a network here; others are
//! given as numbers.

/// The number of a user.
pub fn uid_of(user: &str) -> Result<u32, String> {
    if let Ok(uid) = user.parse() {
        return Ok(uid);
    }
    let file = std::fs::read_to_string("/etc/passwd").map_err(|e| format!("/etc/passwd: {e}"))?;
    find(&file, user)
        .ok_or_else(|| format!("`{user}` is no user of /etc/passwd: give the number instead"))
}

fn find(passwd: &str, user: &str) -> Option<u32> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(user)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nqueue:x:990:990::/:/bin/false\n";
        assert_eq!(find(passwd, "queue"), Some(990));
        assert_eq!(find(passwd, "que"), None);
        assert_eq!(uid_of("1234"), Ok(1234));
        assert_eq!(uid_of("root"), Ok(0));
    }
}
