#!/usr/bin/perl
# Perl's Net::LDAP asks one directory: what by_net_ldap.py hands it as JSON, answers as JSON, one a line.
use strict;
use warnings;
use JSON::PP;
use Net::LDAP;
use Net::LDAP::Constant qw(LDAP_CONTROL_PAGED LDAP_CONTROL_SORTRESULT LDAP_SUCCESS);
use Net::LDAP::Control::Paged;
use Net::LDAP::Control::Sort;
use Net::LDAP::Control::MatchedValues;
use Net::LDAP::Extension::Cancel;
use Net::LDAP::Extension::WhoAmI;
use Authen::SASL qw(Perl);

my $json = JSON::PP->new->canonical->utf8;
my $told = $json->decode(do { local $/; <STDIN> });
my %tls = (verify => 'require', cafile => $told->{ca});
@tls{qw(clientcert clientkey)} = ("$told->{certificate}.crt", "$told->{certificate}.key") unless $told->{bind};

sub connection {
  my ($start_tls) = @_;
  my $ldap = Net::LDAP->new(($start_tls ? 'ldap' : 'ldaps') . "://$told->{address}", timeout => 10, $start_tls ? () : %tls)
    or die "no connection: $@\n";
  if ($start_tls) {
    my $secured = $ldap->start_tls(%tls);
    die 'StartTLS: ' . $secured->error . "\n" if $secured->code;
  }
  my $bound = $told->{bind} ? $ldap->bind($told->{bind}, password => $told->{password})
    : $ldap->bind('', sasl => Authen::SASL->new(mechanism => 'EXTERNAL', callback => { user => '' }));
  die 'bind: ' . $bound->code . ' ' . $bound->error . "\n" if $bound->code;
  return $ldap;
}

# values come as bytes, names as either
sub text {
  my ($value) = @_;
  utf8::decode($value) unless utf8::is_utf8($value);
  return $value;
}

sub entries {
  return [map { my $entry = $_; [text($entry->dn), {map { $_ => [map { text($_) } @{$entry->get_value($_, asref => 1)}] } $entry->attributes}] } @_];
}

sub answer {
  my ($found, %more) = @_;
  return {result => $found->code, entries => entries($found->entries), controls => [map { $_->type } $found->control], %more};
}

sub asked {
  my ($question, @controls) = @_;
  return (base => $question->{base}, scope => $question->{scope} // 'sub', filter => $question->{filter},
    attrs => $question->{attributes}, sizelimit => $question->{size} // 0, typesonly => $question->{types} // 0, control => \@controls);
}

sub pages {
  my ($ldap, $question) = @_;
  my $page = Net::LDAP::Control::Paged->new(size => $question->{page}, critical => 1);
  my ($count, @all) = (0);
  while (1) {
    my $found = $ldap->search(asked($question, $page));
    return answer($found) if $found->code;
    push @all, $found->entries;
    $count++;
    my ($next) = $found->control(LDAP_CONTROL_PAGED) or last;
    my $cookie = $next->cookie or last;
    $page->cookie($cookie);
  }
  return {result => 0, entries => entries(@all), value => "$count pages"};
}

sub cancelled {
  my ($ldap, $question) = @_;
  my $running = $ldap->async ? die "async already\n" : do { $ldap->async(1); $ldap->search(asked($question)) };
  $question->{how} eq 'abandon' ? $ldap->abandon($running) : $ldap->cancel($running);
  $ldap->async(0);
  my $again = $ldap->search(asked({%$question, filter => $question->{again}}));
  return answer($again, controls => []);
}

my %do = (
  search => sub { answer($_[0]->search(asked($_[1]))) },
  start_tls => sub { my $ldap = connection(1); answer($ldap->search(asked($_[1]))) },
  pages => \&pages,
  sort => sub {
    my $sort = Net::LDAP::Control::Sort->new(order => $_[1]{order}, critical => $_[1]{critical} // 1);
    my $found = $_[0]->search(asked($_[1], $sort));
    my ($said) = $found->control(LDAP_CONTROL_SORTRESULT);
    answer($found, ordered => JSON::PP::true, value => 'sort result ' . ($said ? $said->result // 'unread' : 'missing'));
  },
  values => sub { answer($_[0]->search(asked($_[1], Net::LDAP::Control::MatchedValues->new(matchedValues => $_[1]{values}, critical => 1)))) },
  control => sub { answer($_[0]->search(asked($_[1], Net::LDAP::Control->new(type => $_[1]{type}, critical => $_[1]{critical})))) },
  compare => sub {
    my ($first) = sort map { $_->dn } $_[0]->search(asked($_[1]))->entries;
    return {result => $_[0]->compare($first, attr => $_[1]{attribute}, value => $_[1]{value})->code};
  },
  called_back => \&cancelled,
  who_am_i => sub {
    my $said = $_[0]->who_am_i;
    return {result => $said->code, value => $said->response ? 'somebody' : 'nobody'};
  },
  schema => sub {
    my $schema = $_[0]->schema or return {result => 'no schema'};
    my @told = map { my $known = $schema->attribute($_); $_ . ' ' . ($known ? $known->{oid} : 'unknown') } @{$_[1]{attributes}};
    return {result => 0, value => join ', ', @told};
  },
  root => sub {
    my $root = $_[0]->root_dse or return {result => 'no root entry'};
    return {result => 0, value => join ', ', map { $_ . ($root->supported_control($_) ? ' yes' : ' no') } @{$_[1]{controls}}};
  },
  write => sub {
    my ($ldap, $question) = @_;
    my $dn = "cn=nobody,$question->{base}";
    my %way = (add => sub { $ldap->add($dn, attrs => [objectClass => 'device', cn => 'nobody']) }, delete => sub { $ldap->delete($dn) },
      modify => sub { $ldap->modify($dn, replace => {description => 'x'}) }, moddn => sub { $ldap->moddn($dn, newrdn => 'cn=x') });
    return {result => $way{$question->{how}}->()->code};
  },
);

$| = 1;
my $ldap = connection(0);
for my $question (@{$told->{questions}}) {
  my $said = eval { $do{$question->{do}}->($ldap, $question) };
  $said //= {result => 'died: ' . ($@ =~ s/ at \S+ line.*//sr)};
  print $json->encode($said), "\n";
}
$ldap->unbind;
