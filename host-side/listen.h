/* Sockets in DIR, which is the current directory: so their names are short however long DIR is. */
#pragma once

/* A listening unix socket with this name; -1 with errno. */
int listen_at(const char *name);
