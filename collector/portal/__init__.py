"""The portal: what partners and operators see and set. One module a page, and templates/portal/ beside them."""
