-- The roles stay: they belong to the cluster, and another database may use them.
drop schema credits cascade;
