//! The mesh namespace and the pods' place in it, by netlink.
